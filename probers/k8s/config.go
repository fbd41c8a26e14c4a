// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubeprober/kubeprober/probers/environ"
)

// defaultTimeout is CHECK_TIMEOUT where it is not set.
const defaultTimeout = 15 * time.Minute

// settings reads what only this package has: the types of Kubernetes.
type settings struct{ *environ.Settings }

func newSettings(env environ.Lookup) settings { return settings{environ.New(env)} }

// timeout is how long a check may take.
func (s settings) timeout() time.Duration {
	d := s.Duration("CHECK_TIMEOUT", defaultTimeout)
	if d == 0 {
		s.Fail("CHECK_TIMEOUT", "more than 0")
	}
	return d
}

// reapOff tells that what earlier checks left is to be left alone.
func (s settings) reapOff() bool { return !s.Bool("RESOURCE_AUTO_REAP", true) }

func (s settings) quantity(name, fallback string) resource.Quantity {
	q, err := resource.ParseQuantity(s.Text(name, fallback))
	if err != nil || q.Sign() <= 0 {
		s.Fail(name, "a quantity such as 15m or 20Mi")
		return resource.MustParse(fallback)
	}
	return q
}

// dnsLabel reads the first part of a name that gets a suffix of suffixLength.
func (s settings) dnsLabel(name, fallback string) string {
	value := s.Text(name, fallback)
	if most := validation.DNS1035LabelMaxLength - suffixLength - 1; len(validation.IsDNS1035Label(value)) > 0 || len(value) > most {
		s.Fail(name, fmt.Sprintf("a name of at most %d lower-case letters, digits and dashes that starts with a letter", most))
	}
	return value
}

func (s settings) selector(name, fallback string) labels.Selector {
	selector, err := labels.Parse(s.Text(name, fallback))
	if err != nil {
		s.Fail(name, "a label selector such as k8s-app=kube-dns")
		return labels.Nothing()
	}
	return selector
}

// nodeSelector reads key=value,key=value.
func (s settings) nodeSelector(name string) map[string]string {
	selector, err := labels.ConvertSelectorToLabelsMap(s.Text(name, ""))
	if err != nil {
		s.Fail(name, "a list such as kubernetes.io/os=linux,disk=ssd")
		return nil
	}
	return selector
}

// tolerations reads key=value:effect,key:effect,key; without a value the key is enough, without an effect all match.
func (s settings) tolerations(name string) []corev1.Toleration {
	var tolerations []corev1.Toleration
	for _, item := range s.List(name, "") {
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
			s.Fail(name, "a list such as dedicated=infra:NoSchedule,spot:NoExecute")
			return nil
		}
		tolerations = append(tolerations, t)
	}
	return tolerations
}
