// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"github.com/kubeprober/kubeprober/kubectl-probe/internal/exit"
)

// Environment of the commands.
const (
	// EnvConfig is the path of the configuration file.
	EnvConfig = "KUBEPROBER_CONFIG"
	// EnvMaster is the address of the master; it wins over the file.
	EnvMaster = "KUBEPROBER_MASTER"
)

// maxConfigBytes bounds the configuration file.
const maxConfigBytes = 64 << 10

// fallbackMaster is the master's address inside its cluster, for a master without the aggregated API.
const fallbackMaster = "http://probe-master.kubeprober.svc.cluster.local:8088"

// settings is the configuration file.
type settings struct {
	// MasterAddr is the address of the master: ws or http, wss or https; a path is ignored.
	MasterAddr string `json:"masterAddr"`
	// CertificateAuthority is a PEM file that the certificate of a wss master is verified with, instead of the system's
	// authorities. A relative path starts at the directory of the configuration file.
	CertificateAuthority string `json:"certificateAuthority,omitempty"`
}

// master is where the gateway listens at an address of its own.
type master struct {
	address *url.URL
	caFile  string
	// from tells the user where the address was found.
	from string
}

// loadMaster finds the address of the master: environment, then file. It is nil when neither names one; then the gateway
// is reached through the API server of the kubeconfig.
func loadMaster(path string, getenv func(string) string, warn io.Writer) (*master, error) {
	if address := getenv(EnvMaster); address != "" {
		parsed, err := parseMaster(address)
		if err != nil {
			return nil, exit.New(exit.Usage, "environment variable %s: %w", EnvMaster, err)
		}
		return &master{address: parsed, from: EnvMaster}, nil
	}
	named := true
	if path == "" {
		path = getenv(EnvConfig)
	}
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, nil //nolint:nilerr // Without a home, as in a container, there is no default file.
		}
		named, path = false, filepath.Join(home, ".kubeprober", "config")
	}
	found, err := readMaster(path, warn)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, exit.New(exit.Usage, "configuration file %s: %w", path, err)
	}
	return found, nil
}

func readMaster(path string, warn io.Writer) (*master, error) {
	file, err := os.Open(path)
	if err != nil {
		var wrapped *fs.PathError
		if errors.As(err, &wrapped) {
			// The path is in the message already.
			return nil, wrapped.Err
		}
		return nil, err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading: %w", err)
	}
	if len(data) > maxConfigBytes {
		return nil, fmt.Errorf("it is larger than %d bytes", maxConfigBytes)
	}
	if info, err := file.Stat(); err == nil && runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		_, _ = fmt.Fprintf(warn, "warning: %s has mode %#o: others may change where your token is sent; run `chmod 600 %s`\n",
			path, info.Mode().Perm(), path)
	}
	var read settings
	if err := json.Unmarshal(data, &read); err != nil {
		return nil, explainJSON(err)
	}
	if read.MasterAddr == "" {
		return nil, errors.New(`key masterAddr is missing: {"masterAddr": "wss://HOST:PORT"}`)
	}
	address, err := parseMaster(read.MasterAddr)
	if err != nil {
		return nil, fmt.Errorf("key masterAddr: %w", err)
	}
	ca := read.CertificateAuthority
	if ca != "" && !filepath.IsAbs(ca) {
		ca = filepath.Join(filepath.Dir(path), ca)
	}
	return &master{address: address, caFile: ca, from: path}, nil
}

// explainJSON names the key or the place of what is wrong.
func explainJSON(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("key %s must be a %s, not a %s", kind.Field, kind.Type, kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("it must hold a JSON object, not a %s", kind.Value)
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not valid JSON: %w (at byte %d)", err, syntax.Offset)
	default:
		return fmt.Errorf("it is not valid JSON: %w", err)
	}
}

// parseMaster reads the address of a master. Paths are dropped: `/clusterdialer` stands in older files.
func parseMaster(text string) (*url.URL, error) {
	parsed, err := url.Parse(text)
	if err != nil {
		// The error of the url package repeats the whole text, which may hold a password.
		return nil, errors.New("it is not a URL such as wss://HOST:PORT")
	}
	scheme, known := map[string]string{"ws": "http", "wss": "https", "http": "http", "https": "https"}[parsed.Scheme]
	switch {
	case !known:
		return nil, fmt.Errorf("scheme %q is none of ws, wss, http and https", parsed.Scheme)
	case parsed.Hostname() == "":
		return nil, errors.New("it names no host: wss://HOST:PORT")
	case parsed.User != nil:
		return nil, errors.New("it must not hold credentials: the token of the kubeconfig is used")
	}
	return &url.URL{Scheme: scheme, Host: parsed.Host}, nil
}

// crossesNetwork tells whether plain text to this address can be read on a network.
func (m *master) crossesNetwork() bool {
	if m.address.Scheme != "http" {
		return false
	}
	host := m.address.Hostname()
	ip := net.ParseIP(host)
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}
