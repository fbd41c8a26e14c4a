// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package v1

// Conditions of a Cluster.
const (
	// ClusterConnectedCondition is True while the master holds a live tunnel to the cluster. Set by the cluster controller.
	ClusterConnectedCondition = "Connected"
	// ClusterProbesSyncedCondition is True while the managed cluster holds exactly the attached probes, as they are on
	// the master. Set by the cluster controller.
	ClusterProbesSyncedCondition = "ProbesSynced"
	// ClusterReadyCondition is True when all attached probes pass, False when a checker reports ERROR, and Unknown when
	// the cluster is disconnected or silent, a result is stale or not all probes have reported. Set by the cluster controller.
	ClusterReadyCondition = "Ready"
)

// Reasons of a Cluster's conditions.
const (
	// ClusterTunnelUpReason surfaces when the tunnel is up.
	ClusterTunnelUpReason = "TunnelUp"
	// ClusterTunnelDownReason surfaces when no tunnel is up.
	ClusterTunnelDownReason = "TunnelDown"
	// ClusterIdentityConflictReason surfaces in an Event when another cluster presents a name that is bound already.
	ClusterIdentityConflictReason = "IdentityConflict"
	// ClusterSyncedReason surfaces when the managed cluster holds the attached probes as they are.
	ClusterSyncedReason = "Synced"
	// ClusterProbeNotFoundReason surfaces when a label attaches a Probe that does not exist.
	ClusterProbeNotFoundReason = "ProbeNotFound"
	// ClusterProbeConflictReason surfaces when the managed cluster holds a Probe or ConfigMap of a wanted name that the
	// master did not make, and so leaves alone.
	ClusterProbeConflictReason = "ProbeConflict"
	// ClusterAwaitingHeartbeatReason surfaces until the agent was heard for the first time.
	ClusterAwaitingHeartbeatReason = "AwaitingHeartbeat"
	// ClusterSyncFailedReason surfaces when writing into the managed cluster failed.
	ClusterSyncFailedReason = "SyncFailed"
	// ClusterDisconnectedReason surfaces when something waits for the tunnel.
	ClusterDisconnectedReason = "Disconnected"
	// ClusterCheckersPassReason surfaces when all attached probes pass.
	ClusterCheckersPassReason = "CheckersPass"
	// ClusterNoProbesReason surfaces when no probe is attached, so that there is nothing to fail.
	ClusterNoProbesReason = "NoProbesAttached"
	// ClusterCheckersFailReason surfaces when a checker reports ERROR.
	ClusterCheckersFailReason = "CheckersFail"
	// ClusterCheckersUnknownReason surfaces when a check could not be made.
	ClusterCheckersUnknownReason = "CheckersUnknown"
	// ClusterAwaitingResultsReason surfaces when an attached probe has not reported yet.
	ClusterAwaitingResultsReason = "AwaitingResults"
	// ClusterResultsStaleReason surfaces when a result is older than two run intervals.
	ClusterResultsStaleReason = "ResultsStale"
	// ClusterHeartbeatLateReason surfaces when the agent was silent for three heartbeat intervals.
	ClusterHeartbeatLateReason = "HeartbeatLate"
	// ClusterCleanupSkippedReason surfaces in an Event when a deleted Cluster is let go without having been cleaned up.
	ClusterCleanupSkippedReason = "CleanupSkipped"
)

// Conditions of a Probe in a managed cluster.
const (
	// ProbeScheduledCondition is True while the agent schedules the probe. Set by the agent.
	ProbeScheduledCondition = "Scheduled"
)

// Reasons of a Probe's conditions.
const (
	// ProbeActiveReason surfaces when the probe runs by its policy.
	ProbeActiveReason = "Active"
	// ProbeSuspendedReason surfaces when the policy suspends the probe.
	ProbeSuspendedReason = "Suspended"
	// ProbeInvalidPolicyReason surfaces when the policy cannot be followed, such as a schedule that is no cron expression.
	ProbeInvalidPolicyReason = "InvalidPolicy"
	// ProbeCompletedReason surfaces when a probe without an interval has run for its generation.
	ProbeCompletedReason = "Completed"
)

// Conditions of a ProbeRun.
const (
	// ProbeRunAcceptedCondition is True once the cluster that is to be diagnosed has taken the run; on the master it is
	// False with the reason while that is not possible. Set by the proberun controller.
	ProbeRunAcceptedCondition = "Accepted"
	// ProbeRunFinishedCondition is True when no probe of the run is pending or running. Set by whoever sets the phase.
	ProbeRunFinishedCondition = "Finished"
)

// Reasons of a ProbeRun's conditions.
const (
	// ProbeRunHandedOverReason surfaces when the managed cluster has the run.
	ProbeRunHandedOverReason = "HandedOver"
	// ProbeRunClusterNotFoundReason surfaces when the run names a Cluster that does not exist.
	ProbeRunClusterNotFoundReason = "ClusterNotFound"
	// ProbeRunProbeNotFoundReason surfaces when the run names a Probe that does not exist.
	ProbeRunProbeNotFoundReason = "ProbeNotFound"
	// ProbeRunNoProbesReason surfaces when the run names no probes and none is attached.
	ProbeRunNoProbesReason = "NoProbes"
	// ProbeRunDisconnectedReason surfaces when the run waits for the tunnel of its cluster.
	ProbeRunDisconnectedReason = "Disconnected"
	// ProbeRunNameTakenReason surfaces when the managed cluster holds another run of the same ID.
	ProbeRunNameTakenReason = "NameTaken"
	// ProbeRunSpecNotAllowedReason surfaces when the run was given up because it brings a probe's spec of its own.
	ProbeRunSpecNotAllowedReason = "SpecNotAllowed"
	// ProbeRunExpiredReason surfaces when a run was given up because its deadline passed.
	ProbeRunExpiredReason = "Expired"
	// ProbeRunInProgressReason surfaces while probes run.
	ProbeRunInProgressReason = "InProgress"
	// ProbeRunDoneReason surfaces when every probe of the run ended.
	ProbeRunDoneReason = "Done"
)
