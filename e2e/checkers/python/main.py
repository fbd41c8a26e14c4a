#!/usr/bin/env python3
"""A checker in Python, with nothing but its standard library."""

import datetime
import json
import os
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request

CA_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"


def resolve():
    try:
        found = socket.getaddrinfo("kubernetes.default", 443, type=socket.SOCK_STREAM)
    except socket.gaierror as err:
        return "ERROR", f"kubernetes.default does not resolve: {err}"
    return "PASS", f"kubernetes.default is {found[0][4][0]}"


def ask():
    context = ssl.create_default_context(cafile=CA_FILE)
    try:
        with urllib.request.urlopen("https://kubernetes.default/version", timeout=10, context=context) as answer:
            return "PASS", "the API server is " + json.load(answer)["gitVersion"]
    except OSError as err:
        return "ERROR", f"the API server does not answer: {err}"


def check(name, function):
    try:
        status, message = function()
    except Exception as err:  # A mistake of the checker proves nothing about the cluster.
        status, message = "UNKNOWN", f"{type(err).__name__}: {err}"
    return {"name": name, "status": status, "message": message}


def give_up(why):
    """Ends with 2: that nobody took the report proves nothing about the cluster."""
    print(why, file=sys.stderr)
    sys.exit(2)


def report(checkers):
    """Posts the results; 429 and 503 are worth another attempt until the deadline of the run, and so is no answer."""
    deadline = datetime.datetime.fromisoformat(os.environ["KUBEPROBER_RUN_DEADLINE"])
    body = json.dumps({"checkers": checkers}).encode()
    while True:
        request = urllib.request.Request(
            os.environ["KUBEPROBER_STATUS_REPORT_URL"], data=body, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=90):
                return
        except urllib.error.HTTPError as err:
            if err.code not in (429, 503):
                give_up(f"the report was refused with {err.code}: {err.read().decode(errors='replace')}")
            pause = float(err.headers.get("Retry-After", "1"))
        except OSError:
            pause = 1.0
        if datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=pause) > deadline:
            give_up("the report found no taker before the deadline")
        time.sleep(pause)


report([check("python-dns", resolve), check("python-api", ask)])
