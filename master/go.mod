module github.com/kubeprober/kubeprober/master

go 1.26.0
