module github.com/kubeprober/kubeprober/agent

go 1.26.0
