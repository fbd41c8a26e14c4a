module github.com/kubeprober/kubeprober/kubectl-probe

go 1.26.0
