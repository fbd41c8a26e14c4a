// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

// Package webhook refuses what the rules of the CRDs cannot: deleting a Probe that is attached, schedules that are no
// cron expressions, reserved variables, and ProbeRuns that name no cluster or bring specs of their own. It judges only the master's own namespace of
// Probes, so that the copies of a managed cluster are left alone even when that is the master cluster itself.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	// The image has no zoneinfo.
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/master/internal/index"
)

const (
	// reservedPrefix is of the variables by which the agent tells a checker who it is and where it reports.
	reservedPrefix = "KUBEPROBER_"
	// namedClusters is how many clusters a refusal names.
	namedClusters = 10
)

// Setup registers the webhooks. reader is the indexed cache of Clusters.
func Setup(mgr ctrl.Manager, reader client.Reader, probeNamespace string) error {
	err := ctrl.NewWebhookManagedBy(mgr, &kubeproberv1.Probe{}).
		WithValidator(&probes{reader: reader, namespace: probeNamespace}).
		Complete()
	if err != nil {
		return fmt.Errorf("setting up the webhook of Probes: %w", err)
	}
	err = ctrl.NewWebhookManagedBy(mgr, &kubeproberv1.ProbeRun{}).
		WithValidator(&probeRuns{namespace: probeNamespace}).
		Complete()
	if err != nil {
		return fmt.Errorf("setting up the webhook of ProbeRuns: %w", err)
	}
	return nil
}

type probes struct {
	reader    client.Reader
	namespace string
}

// ValidateCreate refuses a Probe that could not run.
func (v *probes) ValidateCreate(_ context.Context, probe *kubeproberv1.Probe) (admission.Warnings, error) {
	if probe.Namespace != v.namespace {
		return nil, nil
	}
	return nil, invalid(probe)
}

// ValidateUpdate refuses a change that makes a Probe unable to run. One that is being deleted may always change, since
// its finalizer has to come off.
func (v *probes) ValidateUpdate(_ context.Context, _, probe *kubeproberv1.Probe) (admission.Warnings, error) {
	if probe.Namespace != v.namespace || !probe.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	return nil, invalid(probe)
}

// ValidateDelete refuses to delete a Probe that labels still attach, and names the Clusters.
func (v *probes) ValidateDelete(ctx context.Context, probe *kubeproberv1.Probe) (admission.Warnings, error) {
	if probe.Namespace != v.namespace {
		return nil, nil
	}
	clusters, err := index.ClustersOfProbe(ctx, v.reader, probe.Name)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	var names []string
	for i := range clusters {
		if index.Attaches(&clusters[i], probe.Name) && clusters[i].DeletionTimestamp.IsZero() {
			names = append(names, clusters[i].Name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	resource := kubeproberv1.GroupVersion.WithResource("probes").GroupResource()
	listed := strings.Join(names[:min(len(names), namedClusters)], ", ")
	if rest := len(names) - namedClusters; rest > 0 {
		listed += fmt.Sprintf(" and %d more", rest)
	}
	label := kubeproberv1.AttachLabel(probe.Name)
	return nil, apierrors.NewForbidden(resource, probe.Name, fmt.Errorf(
		"it is attached to %d cluster(s): %s; detach it first with \"kubectl label cluster -l %s=%s %s-\"",
		len(names), listed, label, kubeproberv1.AttachLabelValue, label))
}

func invalid(probe *kubeproberv1.Probe) error {
	problems := validatePolicy(field.NewPath("spec", "policy"), &probe.Spec.Policy)
	problems = append(problems, validateConfigs(field.NewPath("spec", "configs"), probe.Spec.Configs)...)
	if len(problems) == 0 {
		return nil
	}
	return apierrors.NewInvalid(kubeproberv1.GroupVersion.WithKind("Probe").GroupKind(), probe.Name, problems)
}

func validatePolicy(path *field.Path, policy *kubeproberv1.ProbePolicy) field.ErrorList {
	var problems field.ErrorList
	if policy.Schedule != nil {
		if _, err := cron.ParseStandard(*policy.Schedule); err != nil {
			problems = append(problems, field.Invalid(path.Child("schedule"), *policy.Schedule,
				fmt.Sprintf("must be a cron expression such as \"*/45 * * * *\": %v", err)))
		}
	}
	if policy.TimeZone != nil {
		if err := checkTimeZone(*policy.TimeZone); err != nil {
			problems = append(problems, field.Invalid(path.Child("timeZone"), *policy.TimeZone,
				fmt.Sprintf("must be an IANA name such as \"Europe/Berlin\": %v", err)))
		}
	}
	return problems
}

func checkTimeZone(name string) error {
	if strings.EqualFold(name, "local") {
		return errors.New("the time zone of a node is not the same everywhere")
	}
	_, err := time.LoadLocation(name)
	return err
}

func validateConfigs(path *field.Path, configs []kubeproberv1.ProbeConfig) field.ErrorList {
	var problems field.ErrorList
	for i, config := range configs {
		for j, variable := range config.Env {
			if strings.HasPrefix(variable.Name, reservedPrefix) {
				problems = append(problems, field.Forbidden(path.Index(i).Child("env").Index(j).Child("name"),
					fmt.Sprintf("%s begins with %s: these variables are set by the agent", variable.Name, reservedPrefix)))
			}
		}
	}
	return problems
}

type probeRuns struct{ namespace string }

// ValidateCreate refuses a ProbeRun of the master that names no cluster, or brings specs of its own. Whether the cluster
// exists is told by the run's conditions, so that objects may be applied in any order.
func (v *probeRuns) ValidateCreate(_ context.Context, run *kubeproberv1.ProbeRun) (admission.Warnings, error) {
	if run.Namespace != v.namespace {
		return nil, nil
	}
	var problems field.ErrorList
	if run.Spec.ClusterName == "" {
		problems = append(problems, field.Required(field.NewPath("spec", "clusterName"),
			"name the Cluster to diagnose; \"kubectl get clusters\" lists them"))
	}
	return nil, invalidRun(run, append(problems, validateRunProbes(run.Spec.Probes, nil)...))
}

// ValidateUpdate refuses specs that were not there before; the rules of the CRD keep the rest as it is. Those that slipped
// through may stay, since their run has to be finished and its finalizer has to come off.
func (v *probeRuns) ValidateUpdate(_ context.Context, old, run *kubeproberv1.ProbeRun) (admission.Warnings, error) {
	if run.Namespace != v.namespace || !run.DeletionTimestamp.IsZero() {
		return nil, nil
	}
	return nil, invalidRun(run, validateRunProbes(run.Spec.Probes, old.Spec.Probes))
}

// validateRunProbes refuses specs that old does not have.
func validateRunProbes(probes, old []kubeproberv1.RunProbe) field.ErrorList {
	had := make(map[string]*kubeproberv1.ProbeSpec, len(old))
	for _, probe := range old {
		had[probe.Name] = probe.Spec
	}
	var problems field.ErrorList
	for i, probe := range probes {
		if probe.Spec != nil && !equality.Semantic.DeepEqual(probe.Spec, had[probe.Name]) {
			problems = append(problems, field.Forbidden(field.NewPath("spec", "probes").Index(i).Child("spec"),
				"a run of the master names Probes: create a Probe and name it"))
		}
	}
	return problems
}

func invalidRun(run *kubeproberv1.ProbeRun, problems field.ErrorList) error {
	if len(problems) == 0 {
		return nil
	}
	return apierrors.NewInvalid(kubeproberv1.GroupVersion.WithKind("ProbeRun").GroupKind(), run.Name, problems)
}

// ValidateDelete allows every deletion.
func (v *probeRuns) ValidateDelete(context.Context, *kubeproberv1.ProbeRun) (admission.Warnings, error) {
	return nil, nil
}
