// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Environment looks up a variable; an unset one is empty. os.Getenv is one.
type Environment func(name string) string

// defaultTimeout is CHECK_TIMEOUT where it is not set.
const defaultTimeout = 15 * time.Minute

// settings reads typed variables and keeps the first error.
type settings struct {
	env Environment
	err error
}

func (s *settings) fail(name, want string) {
	if s.err == nil {
		s.err = fmt.Errorf("%s is %q; it must be %s. Correct it in the configs of the Probe", name, s.env(name), want)
	}
}

func (s *settings) text(name, fallback string) string {
	if value := strings.TrimSpace(s.env(name)); value != "" {
		return value
	}
	return fallback
}

func (s *settings) number(name string, fallback, least, most int32) int32 {
	value := s.text(name, "")
	if value == "" {
		return fallback
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < int64(least) || n > int64(most) {
		s.fail(name, fmt.Sprintf("a number from %d to %d", least, most))
		return fallback
	}
	return int32(n)
}

func (s *settings) duration(name string, fallback time.Duration) time.Duration {
	value := s.text(name, "")
	if value == "" {
		return fallback
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		s.fail(name, "a time such as 90s or 15m")
		return fallback
	}
	return d
}

func (s *settings) yes(name string, fallback bool) bool {
	value := s.text(name, "")
	if value == "" {
		return fallback
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		s.fail(name, "true or false")
	}
	return b
}

func (s *settings) quantity(name, fallback string) resource.Quantity {
	q, err := resource.ParseQuantity(s.text(name, fallback))
	if err != nil || q.Sign() <= 0 {
		s.fail(name, "a quantity such as 15m or 20Mi")
		return resource.MustParse(fallback)
	}
	return q
}

// dnsLabel reads the first part of a name that gets a suffix of suffixLength.
func (s *settings) dnsLabel(name, fallback string) string {
	value := s.text(name, fallback)
	if most := validation.DNS1035LabelMaxLength - suffixLength - 1; len(validation.IsDNS1035Label(value)) > 0 || len(value) > most {
		s.fail(name, fmt.Sprintf("a name of at most %d lower-case letters, digits and dashes that starts with a letter", most))
	}
	return value
}

func (s *settings) selector(name, fallback string) labels.Selector {
	selector, err := labels.Parse(s.text(name, fallback))
	if err != nil {
		s.fail(name, "a label selector such as k8s-app=kube-dns")
		return labels.Nothing()
	}
	return selector
}

// nodeSelector reads key=value,key=value.
func (s *settings) nodeSelector(name string) map[string]string {
	selector, err := labels.ConvertSelectorToLabelsMap(s.text(name, ""))
	if err != nil {
		s.fail(name, "a list such as kubernetes.io/os=linux,disk=ssd")
		return nil
	}
	return selector
}

// tolerations reads key=value:effect,key:effect,key; without a value the key is enough, without an effect all match.
func (s *settings) tolerations(name string) []corev1.Toleration {
	var tolerations []corev1.Toleration
	for item := range strings.SplitSeq(s.text(name, ""), ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		rest, effect, _ := strings.Cut(item, ":")
		key, value, hasValue := strings.Cut(rest, "=")
		t := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffect(effect)}
		if hasValue {
			t.Operator, t.Value = corev1.TolerationOpEqual, value
		}
		switch t.Effect {
		case "", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		default:
			key = ""
		}
		if len(validation.IsQualifiedName(key)) > 0 {
			s.fail(name, "a list such as dedicated=infra:NoSchedule,spot:NoExecute")
			return nil
		}
		tolerations = append(tolerations, t)
	}
	return tolerations
}
