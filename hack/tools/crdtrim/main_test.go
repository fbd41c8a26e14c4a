// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const header = `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
spec:
`

func TestTrim(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"drops descriptions in a template and keeps the template's own": {
			in: `  properties:
    template:
      description: The pod.
      properties:
        containers:
          description: List of containers.
          items:
            description: One.
            type: object
          type: array
      type: object
`,
			want: `  properties:
    template:
      description: The pod.
      properties:
        containers:
          items:
            type: object
          type: array
      type: object
`,
		},
		"keeps descriptions beside and above a template": {
			in: `  description: The kind.
  properties:
    interval:
      description: Minutes.
      type: integer
    template:
      type: object
`,
			want: `  description: The kind.
  properties:
    interval:
      description: Minutes.
      type: integer
    template:
      type: object
`,
		},
		"finds a template below lists": {
			in: `  versions:
  - schema:
      properties:
        probes:
          items:
            properties:
              template:
                properties:
                  a:
                    description: A.
                    type: string
`,
			want: `  versions:
  - schema:
      properties:
        probes:
          items:
            properties:
              template:
                properties:
                  a:
                    type: string
`,
		},
		"keeps a property of a template that is named description": {
			in: `  properties:
    template:
      properties:
        description:
          description: A text.
          type: string
`,
			want: `  properties:
    template:
      properties:
        description:
          type: string
`,
		},
		"leaves alone what is named template and is no property": {
			in: `  names:
    template:
      inner:
        description: Kept.
`,
			want: `  names:
    template:
      inner:
        description: Kept.
`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := trim([]byte(header + test.in))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != header+test.want {
				t.Errorf("got\n%swant\n%s", got, header+test.want)
			}
		})
	}
}

func TestTrimRefuses(t *testing.T) {
	tests := map[string]struct{ in, message string }{
		"another kind":            {in: "kind: ConfigMap\n", message: "no CustomResourceDefinition"},
		"what is not YAML":        {in: "\t:", message: "yaml"},
		"a CRD that is too large": {in: header + "  description: " + strings.Repeat("x", maxBytes) + "\n", message: "more than 200000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := trim([]byte(test.in))
			if err == nil || !strings.Contains(err.Error(), test.message) {
				t.Errorf("got error %v, want one with %q", err, test.message)
			}
		})
	}
}

func TestTrimFileIsStable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "crd.yaml")
	if err := os.WriteFile(path, []byte(header+"  properties:\n    template:\n      type: object\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var versions [2]string
	for i := range versions {
		if err := trimFile(path); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		versions[i] = string(data)
	}
	if versions[0] != versions[1] {
		t.Errorf("a second run changed\n%sto\n%s", versions[0], versions[1])
	}
}
