// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	corev1 "k8s.io/api/core/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// notSynced tells why the managed cluster does not hold what the labels want.
func (r *Reconciler) notSynced(cluster *kubeproberv1.Cluster, reason, message string) {
	r.Events.Eventf(cluster, nil, corev1.EventTypeWarning, reason, "SyncProbes", "%s", message)
}

// synced tells that it does again.
func (r *Reconciler) syncedAgain(cluster *kubeproberv1.Cluster, message string) {
	r.Events.Eventf(cluster, nil, corev1.EventTypeNormal, kubeproberv1.ClusterSyncedReason, "SyncProbes", "%s", message)
}

// cleanupSkipped tells that a deleted Cluster was let go with the probes still in the managed cluster.
func (r *Reconciler) cleanupSkipped(cluster *kubeproberv1.Cluster) {
	r.Events.Eventf(cluster, nil, corev1.EventTypeWarning, kubeproberv1.ClusterCleanupSkippedReason, "CleanUp",
		"Could not reach the managed cluster for %s. It may still hold Probes and ProbeRuns in namespace %s: run \"kubectl delete probes,proberuns -n %s -l %s=%s\" there",
		cleanupPatience, cluster.Status.ProbeNamespace, cluster.Status.ProbeNamespace, kubeproberv1.ManagedByLabel, kubeproberv1.ManagedByMaster)
}
