// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package specs

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
	"github.com/kubeprober/kubeprober/e2e/framework"
)

// post is a bash function that posts its argument to the report URL, and prints the status line and the body of the answer.
const post = `
post() {
  local rest=${KUBEPROBER_STATUS_REPORT_URL#http://}
  local host=${rest%%/*} path=/${rest#*/} body=$1
  exec 3<>"/dev/tcp/${host%:*}/${host##*:}"
  printf 'POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' "$path" "$host" "${#body}" "$body" >&3
  echo "answer: $(tr '\r\n' '  ' <&3)"
}
`

// Failing is about probes that cannot judge: they are UNKNOWN with the reason, and never ERROR.
func Failing(input func() Input) {
	It("records a probe whose image does not exist as UNKNOWN with the reason of the kubelet", func(ctx SpecContext) {
		in := input()
		const name = "no-image"
		attachForSpec(ctx, in, in.ManagedName, name, fmt.Sprintf(`
apiVersion: kubeprober.erda.cloud/v1
kind: Probe
metadata: {name: %s, namespace: %s}
spec:
  policy: {timeoutSeconds: 30}
  template:
    restartPolicy: Never
    containers: [{name: main, image: "127.0.0.1:1/there/is-no-such-image:v0"}]
`, name, probeNamespace))
		result := awaitResult(ctx, in, name)
		Expect(result.Status.Status).To(Equal(kubeproberv1.CheckerUnknown))
		Expect(result.Status.Message).To(MatchRegexp("ImagePullBackOff|ErrImagePull"))
		expectUnknown(ctx, in, name, "ImagePullBackOff|ErrImagePull")
	})

	It("answers 410 to a checker that reports after its deadline", func(ctx SpecContext) {
		in := input()
		const name = "late"
		attachForSpec(ctx, in, in.ManagedName, name, in.scriptProbe(name, "{timeoutSeconds: 10}", post+`
trap '' TERM
echo "waiting for $KUBEPROBER_RUN_DEADLINE"
while (($(date +%s) <= $(date -d "$KUBEPROBER_RUN_DEADLINE" +%s) + 1)); do sleep 0.5; done
post '{"checkers":[{"name":"too-late","status":"PASS","message":"nobody waited for this"}]}'
`))
		Expect(answer(ctx, in, name)).To(ContainSubstring(" 410 "))
		result := awaitResult(ctx, in, name)
		Expect(result.Status.Status).To(Equal(kubeproberv1.CheckerUnknown))
		Expect(result.Status.Message).To(MatchRegexp("(?i)deadline"))
		Expect(checkerNames(result)).NotTo(ContainElement("too-late"))
		expectUnknown(ctx, in, name, "(?i)deadline")
	})

	It("answers 400 with the reason to a checker that reports garbage", func(ctx SpecContext) {
		in := input()
		const name = "garbage"
		attachForSpec(ctx, in, in.ManagedName, name, in.scriptProbe(name, "{timeoutSeconds: 60}", post+`
post '{"checkers": [{"name": "half", "status": '
post '{"checkers":[{"name":"odd","status":"SPLENDID"}]}'
`))
		said := answer(ctx, in, name)
		Expect(said).To(ContainSubstring(" 400 "))
		Expect(said).To(ContainSubstring("parsing report"))
		result := awaitResult(ctx, in, name)
		Expect(result.Status.Status).To(Equal(kubeproberv1.CheckerUnknown))
		Expect(checkerNames(result)).NotTo(ContainElement("odd"))
		Expect(result.Status.Message).To(MatchRegexp("(?i)report"), "it says that nothing was reported")
		expectUnknown(ctx, in, name, "(?i)report")
	})

	It("answers 403 to a checker that reports for another probe", func(ctx SpecContext) {
		in := input()
		const name = "impostor"
		before := framework.Get(ctx, in.Managed, probeStatus("k8s"))
		attachForSpec(ctx, in, in.ManagedName, name, in.scriptProbe(name, "{timeoutSeconds: 60}", post+`
post '{"probeName":"k8s","probeNamespace":"kubeprober","checkers":[{"name":"forged","status":"ERROR","message":"forged"}]}'
KUBEPROBER_STATUS_REPORT_URL=${KUBEPROBER_STATUS_REPORT_URL%?????}AAAAA
post '{"checkers":[{"name":"forged","status":"ERROR","message":"forged"}]}'
`))
		Expect(strings.Count(answer(ctx, in, name), " 403 ")).To(Equal(2), "for the probe's name, and for a capability that is none")
		result := awaitResult(ctx, in, name)
		Expect(result.Status.Status).To(Equal(kubeproberv1.CheckerUnknown))
		Expect(checkerNames(result)).NotTo(ContainElement("forged"))
		Expect(framework.Get(ctx, in.Managed, probeStatus("k8s")).Status).To(Equal(before.Status), "the other probe's result is untouched")
	})

	It("counts a checker's ERROR as what it is", func(ctx SpecContext) {
		in := input()
		const name = "broken"
		attachForSpec(ctx, in, in.ManagedName, name, in.scriptProbe(name, "{}", `report-status --name=disk --status=error --message="the disk is full"`))
		c := framework.Await(ctx, in.Master, cluster(in.ManagedName), aMinute, "is not Ready", func(c *kubeproberv1.Cluster) bool {
			return condition(c, kubeproberv1.ClusterReadyCondition) == metav1.ConditionFalse
		})
		Expect(reason(c, kubeproberv1.ClusterReadyCondition)).To(Equal(kubeproberv1.ClusterCheckersFailReason))
		Expect(c.Status.Checkers).To(HaveSuffix("/1"))
		row := framework.ParseTable(in.Master.Kubectl("probe", "status", "-c", in.ManagedName).Run(ctx).Stdout).Row("CHECKER", "disk")
		Expect(row).To(HaveKeyWithValue("STATUS", "ERROR"))
		Expect(row).To(HaveKeyWithValue("MESSAGE", "the disk is full"))
	})
}

// answer follows the log of the probe's pod to its end, and returns what the agent answered it.
func answer(ctx context.Context, in Input, name string) string {
	GinkgoHelper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{kubeproberv1.ProbeLabel: name}}}
	pod = framework.Await(ctx, in.Managed, pod, aMinute, "has started", func(p *corev1.Pod) bool { return p.Status.Phase != corev1.PodPending })
	session := in.Managed.Kubectl("logs", "-f", "-n", namespace, pod.Name).Start(ctx)
	Eventually(session).WithTimeout(aMinute).Should(gbytes.Say("answer: "))
	Eventually(session).WithTimeout(aMinute).Should(gexec.Exit())
	return string(session.Out.Contents())
}

// awaitResult waits until the managed cluster has an outcome of the probe.
func awaitResult(ctx context.Context, in Input, name string) *kubeproberv1.ProbeStatus {
	GinkgoHelper()
	return framework.Await(ctx, in.Managed, probeStatus(name), 2*aMinute, "has an outcome", func(p *kubeproberv1.ProbeStatus) bool {
		return p.Status.Status != ""
	})
}

// expectUnknown expects that the master and the plugin show that the probe could not judge.
func expectUnknown(ctx context.Context, in Input, name, message string) {
	GinkgoHelper()
	c := framework.Await(ctx, in.Master, cluster(in.ManagedName), soon, "shows that "+name+" could not judge", func(c *kubeproberv1.Cluster) bool {
		s := summary(c, name)
		return s != nil && s.Status == kubeproberv1.CheckerUnknown
	})
	Expect(summary(c, name).Message).To(MatchRegexp(message))
	Expect(summary(c, name).Error).To(BeZero())
	Expect(condition(c, kubeproberv1.ClusterReadyCondition)).To(Equal(metav1.ConditionUnknown), "could not check is neither healthy nor broken")

	row := framework.ParseTable(in.Master.Kubectl("probe", "status", "-c", in.ManagedName).Run(ctx).Stdout).Row("PROBER", name)
	Expect(row).To(HaveKeyWithValue("STATUS", "UNKNOWN"))
	Expect(row["MESSAGE"]).To(MatchRegexp(message))
}

func checkerNames(p *kubeproberv1.ProbeStatus) []string {
	names := make([]string, 0, len(p.Status.Checkers))
	for _, c := range p.Status.Checkers {
		names = append(names, c.Name)
	}
	return names
}
