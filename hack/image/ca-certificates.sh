#!/usr/bin/env bash
# Prints the path of the CA certificates that go into the images: those of the machine that builds them.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
	if [[ -n $file && -s $file ]]; then
		echo "$file"
		exit
	fi
done
die "this machine has no CA certificates; install the package ca-certificates"
