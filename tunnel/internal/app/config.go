// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	defaultConfigFile = "/etc/kubeprober/probe-conf.yaml"
	defaultSecretFile = "/etc/kubeprober/secret/secret_key"
	defaultHealthAddr = ":8081"
)

// The keys of the config file.
const (
	keyMasterAddr = "probe_master_addr"
	keyCluster    = "cluster_name"
	keySecret     = "secret_key"
	keyDebug      = "agent_debug"
	keyDebugLevel = "debug_level"
)

// flags are what the command line says; an empty string says nothing.
type flags struct {
	configFile   string
	masterAddr   string
	cluster      string
	secretFile   string
	masterCAFile string
	masterPins   []string
	healthAddr   string
	kubeconfig   string
	version      bool
}

func parseFlags(args []string, stderr io.Writer) (*flags, error) {
	f := &flags{}
	set := flag.NewFlagSet("probe-tunnel", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&f.configFile, "config", "", "The config file. Default "+defaultConfigFile+".")
	set.StringVar(&f.masterAddr, "probe-master-addr", "", "The master's address, http(s)://host:port. Overrides PROBE_MASTER_ADDR and the config file.")
	set.StringVar(&f.cluster, "cluster-name", "", "The name of this cluster. Overrides CLUSTER_NAME and the config file.")
	set.StringVar(&f.secretFile, "secret-key-file", "", "A file with the secret key; it is read anew for each connect. Overrides SECRET_KEY and the config file. Default "+defaultSecretFile+", when there is one.")
	set.StringVar(&f.masterCAFile, "master-ca-file", "", "A PEM file with the certificates that verify the master; it is read anew for each connect. Default: those of the system.")
	set.Func("master-key-pin", "A public key that the master's certificate may have: sha256//BASE64 of the SHA-256 sum of its SubjectPublicKeyInfo. May be given more than once. Without --master-ca-file the certificate then needs no known authority.", func(text string) error {
		f.masterPins = append(f.masterPins, text)
		return nil
	})
	set.StringVar(&f.healthAddr, "health-probe-bind-address", defaultHealthAddr, "The address of /healthz, /readyz and /connected.")
	set.StringVar(&f.kubeconfig, "kubeconfig", "", "A kubeconfig of the cluster to serve. Default: the cluster that the process runs in.")
	set.BoolVar(&f.version, "version", false, "Print the version and exit.")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q: see probe-tunnel -h", set.Arg(0))
	}
	return f, nil
}

// file is the config file's content, by key. A missing default file is empty.
type file struct {
	path    string
	values  map[string]string
	unknown []string
}

func readFile(path string) (*file, error) {
	f := &file{path: path, values: map[string]string{}}
	if path == "" {
		f.path = defaultConfigFile
	}
	content, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) && path == "" {
		return f, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the config file: %w", err)
	}
	var raw map[string]any
	if err := yaml.Unmarshal(content, &raw); err != nil {
		return nil, fmt.Errorf("reading config file %s: %w", f.path, err)
	}
	for key, value := range raw {
		switch key {
		case keyMasterAddr, keyCluster, keySecret:
			text, ok := value.(string)
			if !ok && value != nil {
				return nil, fmt.Errorf("reading config file %s: %s must be a string: put the value in quotes", f.path, key)
			}
			f.values[key] = text
		case keyDebug, keyDebugLevel:
			if value != nil {
				f.values[key] = fmt.Sprint(value)
			}
		default:
			f.unknown = append(f.unknown, key)
		}
	}
	return f, nil
}

// settings are the values in force: flag, environment, config file, default.
type settings struct {
	masterAddr string
	cluster    string
	verbosity  int
	unknown    []string // keys of the config file that mean nothing
}

func resolve(f *flags, env func(string) string) (*settings, error) {
	conf, err := readFile(f.configFile)
	if err != nil {
		return nil, err
	}
	s := &settings{
		masterAddr: first(f.masterAddr, env("PROBE_MASTER_ADDR"), conf.values[keyMasterAddr]),
		cluster:    first(f.cluster, env("CLUSTER_NAME"), conf.values[keyCluster]),
		unknown:    conf.unknown,
	}
	if s.masterAddr == "" {
		return nil, missing("the master's address", keyMasterAddr, conf.path, "PROBE_MASTER_ADDR", "--probe-master-addr")
	}
	if s.cluster == "" {
		return nil, missing("the cluster's name", keyCluster, conf.path, "CLUSTER_NAME", "--cluster-name")
	}
	if s.verbosity, err = conf.verbosity(); err != nil {
		return nil, err
	}
	if _, err := secret(f, env); err != nil {
		return nil, err
	}
	return s, nil
}

func missing(what, key, path, env, flag string) error {
	return fmt.Errorf("%s is missing: set %s in %s, %s in the environment, or %s", what, key, path, env, flag)
}

func first(values ...string) string {
	for _, value := range values {
		if value = strings.TrimSpace(value); value != "" {
			return value
		}
	}
	return ""
}

// verbosity returns how much is logged: 0 is normal, 1 and above is for finding faults.
func (f *file) verbosity() (int, error) {
	level := 0
	if text := f.values[keyDebugLevel]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 10 {
			return 0, fmt.Errorf("reading config file %s: %s is %q, but must be a number from 0 to 10", f.path, keyDebugLevel, text)
		}
		level = n
	}
	if text := f.values[keyDebug]; text != "" {
		on, err := strconv.ParseBool(text)
		if err != nil {
			return 0, fmt.Errorf("reading config file %s: %s is %q, but must be true or false", f.path, keyDebug, text)
		}
		if on {
			level = max(level, 1)
		}
	}
	return level, nil
}

// secret returns the secret in force now. It is read anew for each connect, so a Secret or
// ConfigMap that was changed needs no restart.
func secret(f *flags, env func(string) string) ([]byte, error) {
	if f.secretFile != "" {
		return secretFromFile(f.secretFile)
	}
	if text := strings.TrimSpace(env("SECRET_KEY")); text != "" {
		return []byte(text), nil
	}
	text, err := secretFromFile(defaultSecretFile)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	conf, err := readFile(f.configFile)
	if err != nil {
		return nil, err
	}
	if text := strings.TrimSpace(conf.values[keySecret]); text != "" {
		return []byte(text), nil
	}
	return nil, missing("the secret key", keySecret, conf.path, "SECRET_KEY", "--secret-key-file")
}

func secretFromFile(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the secret key: %w", err)
	}
	text := strings.TrimSpace(string(content))
	if text == "" {
		return nil, fmt.Errorf("reading the secret key: %s is empty", path)
	}
	return []byte(text), nil
}
