// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kubeprober/kubeprober/probers/checker"
)

// node writes the files of a node; a content that starts with "-> " is a symbolic link.
func node(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func newHost(t *testing.T, root string, set map[string]string) *Host {
	t.Helper()
	h, err := New(func(name string) string {
		if name == "HOST_ROOT" {
			return root
		}
		return set[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func check(t *testing.T, h *Host, name string) (checker.Status, string) {
	t.Helper()
	for _, c := range h.Checkers() {
		if c.Name() == name {
			return c.Check(t.Context())
		}
	}
	t.Fatalf("there is no checker %s", name)
	return "", ""
}

func TestChecksJudgeTheFilesOfTheNode(t *testing.T) {
	const meminfo = "MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:    "
	stat := "cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\n"
	tests := map[string]struct {
		checker string
		files   map[string]string
		set     map[string]string
		status  checker.Status
		says    string
	}{
		"enough memory":       {checker: "host_system_mem", files: map[string]string{"proc/meminfo": meminfo + "8000000 kB\n"}, status: checker.Pass, says: "50 % of 15.3 GiB memory used, 7.6 GiB available"},
		"little memory":       {checker: "host_system_mem", files: map[string]string{"proc/meminfo": meminfo + "1500000 kB\n"}, status: checker.Warn, says: "91 %"},
		"no memory":           {checker: "host_system_mem", files: map[string]string{"proc/meminfo": meminfo + "0 kB\n"}, status: checker.Error, says: "100 %"},
		"other thresholds":    {checker: "host_system_mem", files: map[string]string{"proc/meminfo": meminfo + "8000000 kB\n"}, set: map[string]string{"HOST_MEMORY_WARN": "40%", "HOST_MEMORY_ERROR": "45"}, status: checker.Error, says: "(limit 45)"},
		"memory unknown":      {checker: "host_system_mem", files: map[string]string{"proc/meminfo": "MemTotal: 5 kB\n"}, status: checker.Unknown, says: "no usable MemTotal and MemAvailable"},
		"memory not mounted":  {checker: "host_system_mem", status: checker.Unknown, says: "no such file"},
		"low load":            {checker: "host_load", files: map[string]string{"proc/loadavg": "9.00 1.50 1.00 1/100 5\n", "proc/stat": stat}, status: checker.Pass, says: "load of five minutes is 1.50 on 2 CPUs, 0.75 each"},
		"high load":           {checker: "host_load", files: map[string]string{"proc/loadavg": "1 8.00 1 1/100 5\n", "proc/stat": stat}, status: checker.Warn, says: "4.00 each"},
		"overload":            {checker: "host_load", files: map[string]string{"proc/loadavg": "1 50.00 1 1/100 5\n", "proc/stat": stat}, status: checker.Error, says: "25.00 each"},
		"load unknown":        {checker: "host_load", files: map[string]string{"proc/loadavg": "what", "proc/stat": stat}, status: checker.Unknown, says: `is "what"`},
		"no CPUs":             {checker: "host_load", files: map[string]string{"proc/loadavg": "1 1 1", "proc/stat": "cpu 1\n"}, status: checker.Unknown, says: "names no CPU"},
		"few connections":     {checker: "host_conntrack", files: conntrack("10", "1000"), status: checker.Pass, says: "10 of 1000 tracked connections used (1 %)"},
		"many connections":    {checker: "host_conntrack", files: conntrack("850", "1000"), status: checker.Warn, says: "85 %"},
		"too many":            {checker: "host_conntrack", files: conntrack("999", "1000"), status: checker.Error, says: "100 %"},
		"no tracking":         {checker: "host_conntrack", status: checker.Pass, says: "does not track"},
		"tracking unknown":    {checker: "host_conntrack", files: conntrack("x", "1000"), status: checker.Unknown, says: "nf_conntrack_count"},
		"name servers":        {checker: "host_resolv_file", files: map[string]string{"etc/resolv.conf": "search a\nnameserver 10.0.0.2\n"}, status: checker.Pass, says: "/etc/resolv.conf names 10.0.0.2"},
		"no name server":      {checker: "host_resolv_file", files: map[string]string{"etc/resolv.conf": "# nothing\n"}, status: checker.Error, says: "names no name server"},
		"a stub":              {checker: "host_resolv_file", files: map[string]string{"etc/resolv.conf": "nameserver 127.0.0.53\n", "run/systemd/resolve/resolv.conf": "nameserver 10.0.0.2\n"}, status: checker.Pass, says: "/run/systemd/resolve/resolv.conf names 10.0.0.2"},
		"only loopback":       {checker: "host_resolv_file", files: map[string]string{"etc/resolv.conf": "nameserver 127.0.0.1\nnameserver ::1\n"}, status: checker.Warn, says: "only loopback addresses (127.0.0.1, ::1)"},
		"too many servers":    {checker: "host_resolv_file", files: map[string]string{"etc/resolv.conf": strings.Repeat("nameserver 10.0.0.2\n", 4)}, status: checker.Warn, says: "names 4 name servers"},
		"no resolv.conf":      {checker: "host_resolv_file", status: checker.Unknown, says: "no such file"},
		"a link of the node":  {checker: "host_resolv_file", files: map[string]string{"etc/resolv.conf": "-> /run/resolv.conf", "run/resolv.conf": "nameserver 10.9.9.9\n"}, status: checker.Pass, says: "10.9.9.9"},
		"a link to elsewhere": {checker: "host_resolv_file", files: map[string]string{"etc/resolv.conf": "-> ../../../../../../etc/hostname"}, status: checker.Unknown, says: "no such file"},
		"no zombies":          {checker: "host_zombie_process", files: processes("S", "R"), status: checker.Pass, says: "0 of 2 processes are zombies"},
		"some zombies":        {checker: "host_zombie_process", files: processes("Z", "Z", "S"), set: map[string]string{"HOST_ZOMBIES_WARN": "2"}, status: checker.Warn, says: "2 of 3 processes are zombies, most of them named a) b (c"},
		"no processes":        {checker: "host_zombie_process", files: map[string]string{"proc/uptime": "1"}, status: checker.Unknown, says: "no process is to be seen"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			status, message := check(t, newHost(t, node(t, test.files), test.set), test.checker)
			if status != test.status || !strings.Contains(message, test.says) {
				t.Errorf("got %s %s, want %s %s", status, message, test.status, test.says)
			}
		})
	}
}

func conntrack(count, most string) map[string]string {
	const dir = "proc/sys/net/netfilter/nf_conntrack_"
	return map[string]string{dir + "count": count + "\n", dir + "max": most + "\n"}
}

func processes(states ...string) map[string]string {
	files := map[string]string{"proc/uptime": "1"}
	for i, state := range states {
		files["proc/"+string(rune('1'+i))+"/stat"] = "1 (a) b (c) " + state + " 0 0"
	}
	return files
}

func TestFilesystemsAreJudged(t *testing.T) {
	type answer struct {
		stat unix.Statfs_t
		err  error
	}
	space := func(id int32, blocks, free, available uint64) answer {
		return answer{stat: unix.Statfs_t{Fsid: unix.Fsid{Val: [2]int32{id, 1}}, Bsize: 1 << 20, Blocks: blocks, Bfree: free, Bavail: available, Files: 100, Ffree: free * 100 / blocks}}
	}
	tests := map[string]struct {
		paths  map[string]answer
		disk   checker.Status
		inodes checker.Status
		says   string
	}{
		"room everywhere":                      {map[string]answer{"/": space(1, 100, 60, 50), "/var/lib/kubelet": space(2, 100, 50, 50)}, checker.Pass, checker.Pass, "space of /: 44 % of 90.0 MiB used; space of /var/lib/kubelet: 50 % of 100.0 MiB used"},
		"what root keeps for itself is full":   {map[string]answer{"/": space(1, 100, 10, 5)}, checker.Error, checker.Error, "95 % of 95.0 MiB used (limit 90)"},
		"one is nearly full":                   {map[string]answer{"/": space(1, 100, 60, 60), "/var/lib/containerd": space(2, 100, 15, 15)}, checker.Warn, checker.Warn, "space of /var/lib/containerd: 85 %"},
		"one file system is named once":        {map[string]answer{"/": space(1, 100, 60, 60), "/var/lib/kubelet": space(1, 100, 60, 60)}, checker.Pass, checker.Pass, "space of /: 40 % of 100.0 MiB used"},
		"one that cannot be measured":          {map[string]answer{"/": space(1, 100, 60, 60), "/var/lib/kubelet": {err: unix.EACCES}}, checker.Unknown, checker.Unknown, "measuring /var/lib/kubelet of the node: permission denied"},
		"none is there":                        {map[string]answer{}, checker.Unknown, checker.Unknown, "could be measured"},
		"a file system without a limit counts": {map[string]answer{"/": {stat: unix.Statfs_t{Bsize: 1, Blocks: 10, Bfree: 9, Bavail: 9}}}, checker.Pass, checker.Unknown, "space of /: 10 % of 10 B used"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			h := newHost(t, root, nil)
			h.statfs = func(path string, into *unix.Statfs_t) error {
				got, ok := test.paths[strings.TrimPrefix(path, root)]
				if path == root {
					got, ok = test.paths["/"]
				}
				if !ok {
					return fs.ErrNotExist
				}
				*into = got.stat
				return got.err
			}
			status, message := check(t, h, "host_disk")
			if status != test.disk || !strings.Contains(message, test.says) {
				t.Errorf("got %s %s, want %s %s", status, message, test.disk, test.says)
			}
			if status, message := check(t, h, "host_inodes"); status != test.inodes {
				t.Errorf("inodes: got %s %s, want %s", status, message, test.inodes)
			}
		})
	}
}

func TestFilesystemsThatBecameReadOnlyAreFound(t *testing.T) {
	// Each line gives the path on the node, the options of the mount, the kind and the options of the file system.
	mountinfo := func(root string, lines []string) string {
		all := "1 0 0:1 / / rw - overlay overlay rw\n"
		for _, line := range lines {
			f := strings.Fields(line)
			all += fmt.Sprintf("36 35 8:1 / %s %s master:1 - %s /dev/sda1 %s\n", root+strings.TrimSuffix(f[0], "/"), f[1], f[2], f[3])
		}
		return all
	}
	tests := map[string]struct {
		lines  []string
		errors string
		status checker.Status
		says   string
	}{
		"all can be written":                  {[]string{"/ ro,relatime ext4 rw", "/data rw ext4 rw"}, "0", checker.Pass, "none of 2 file systems"},
		"one was remounted":                   {[]string{"/ ro ext4 rw", `/my\040data rw ext4 ro,errors=remount-ro`}, "0", checker.Error, "/my data (ext4 on /dev/sda1) has become read-only"},
		"one is mounted read-only":            {[]string{"/ ro ext4 rw", "/usr ro ext4 ro"}, "0", checker.Pass, "none of 2"},
		"the root was remounted":              {[]string{"/ ro ext4 ro,errors=remount-ro"}, "0", checker.Error, "/ (ext4 on /dev/sda1) has become read-only"},
		"the root is read-only by intention":  {[]string{"/ ro ext4 ro"}, "0", checker.Pass, "none of 1"},
		"what is no disk is left out":         {[]string{"/ ro overlay rw", "/sys rw sysfs ro"}, "0", checker.Pass, "none of 0"},
		"the kernel counted errors":           {[]string{"/ ro ext4 rw"}, "3", checker.Warn, "ext4 has counted 3 errors on sda1"},
		"nothing of the node is mounted here": {nil, "0", checker.Unknown, "no file system of the node is mounted at"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := node(t, map[string]string{"sys/fs/ext4/sda1/errors_count": test.errors})
			h := newHost(t, root, nil)
			own := mountinfo(root, test.lines)
			h.own = node(t, map[string]string{"self/mountinfo": own})
			status, message := check(t, h, "host_readonly_filesystem")
			if status != test.status || !strings.Contains(message, test.says) {
				t.Errorf("got %s %s, want %s %s\n%s", status, message, test.status, test.says, own)
			}
		})
	}
}

func TestTheKubeletIsJudgedByItsAnswer(t *testing.T) {
	tests := map[string]struct {
		code   int
		body   string
		status checker.Status
		says   string
	}{
		"healthy":        {200, "ok", checker.Pass, "the kubelet is healthy"},
		"not healthy":    {500, "[-]syncloop failed", checker.Error, "the kubelet is not healthy: 500 Internal Server Error [-]syncloop failed"},
		"something else": {404, "", checker.Unknown, "404"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.code)
				if _, err := w.Write([]byte(test.body)); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			status, message := check(t, newHost(t, "/", map[string]string{"HOST_KUBELET_HEALTHZ": server.URL}), "host_kubeletstatus")
			if status != test.status || !strings.Contains(message, test.says) {
				t.Errorf("got %s %s, want %s %s", status, message, test.status, test.says)
			}
		})
	}
	t.Run("nothing listens", func(t *testing.T) {
		status, message := check(t, newHost(t, "/", map[string]string{"HOST_KUBELET_HEALTHZ": "http://127.0.0.1:1/healthz"}), "host_kubeletstatus")
		if status != checker.Unknown || !strings.Contains(message, "nothing listens at") {
			t.Errorf("got %s %s", status, message)
		}
	})
	t.Run("the run ends first", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newHost(t, "/", nil).checkKubelet(ctx)
		if status, message := checker.Verdict(err, ""); status != checker.Unknown {
			t.Errorf("got %s %s", status, message)
		}
	})
	t.Run("it hangs", func(t *testing.T) {
		hanging, release := make(chan struct{}), make(chan struct{})
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(hanging); <-release }))
		defer server.Close()
		defer close(release)
		h := newHost(t, "/", map[string]string{"HOST_KUBELET_HEALTHZ": server.URL})
		h.kubeletTime = 300 * time.Millisecond
		status, message := check(t, h, "host_kubeletstatus")
		<-hanging
		if status != checker.Error || !strings.Contains(message, "does not answer") {
			t.Errorf("got %s %s", status, message)
		}
	})
}

func TestTheClockIsAHint(t *testing.T) {
	tests := map[string]struct {
		state  unix.Timex
		err    error
		status checker.Status
	}{
		"kept right":       {unix.Timex{Esterror: 12}, nil, checker.Pass},
		"not kept right":   {unix.Timex{Status: unix.STA_UNSYNC}, nil, checker.Info},
		"asking forbidden": {unix.Timex{}, errors.New("operation not permitted"), checker.Unknown},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "/", nil)
			h.clock = func(into *unix.Timex) (int, error) { *into = test.state; return 0, test.err }
			if status, message := check(t, h, "host_time_sync"); status != test.status {
				t.Errorf("got %s %s, want %s", status, message, test.status)
			}
		})
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for name, value := range map[string]string{
		"HOST_DISK_WARN": "lots", "HOST_DISK_ERROR": "120", "HOST_LOAD_WARN": "NaN", "HOST_INODES_ERROR": "10", "HOST_DISK_PATHS": "var,/",
	} {
		_, err := New(func(n string) string { return map[string]string{name: value}[n] })
		if err == nil || !strings.Contains(err.Error(), name+` is "`+value+`"; it must be`) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}

// TestThisMachine reads the real files of the machine that runs the test; what they say is not the test's business, but
// they must be understood.
func TestThisMachine(t *testing.T) {
	if _, err := os.Stat("/proc/meminfo"); err != nil {
		t.Skip("this machine has no /proc")
	}
	h := newHost(t, "/", nil)
	for _, name := range []string{"host_disk", "host_inodes", "host_readonly_filesystem", "host_system_mem", "host_load", "host_conntrack", "host_zombie_process"} {
		status, message := check(t, h, name)
		t.Logf("%s %s %s", name, status, message)
		if status == checker.Unknown || message == "" {
			t.Errorf("%s: %s %s", name, status, message)
		}
	}
}
