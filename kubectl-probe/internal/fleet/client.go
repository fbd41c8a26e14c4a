// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	kubeproberv1 "github.com/kubeprober/kubeprober/apis/v1"
)

// pageSize bounds one answer to a list.
const pageSize = 500

// call names what a request does, in the words of RBAC.
type call struct {
	verb, resource, namespace, name string
}

// client makes requests for the kinds of Kubeprober to one API server. It asks for no discovery: the kinds are known.
type client struct {
	rest rest.Interface
	// params encodes the options of requests.
	params runtime.ParameterCodec
	// retries is how often a request is made again that the server asks to make later. Through the gateway it is 0: a
	// cluster without a tunnel must be told at once.
	retries int
	// explain turns an error of the API server into one for the user.
	explain func(context.Context, call, error) error
}

// newClient makes a client. Clients of one server share the connections of transport.
func newClient(config *rest.Config, transport *http.Client, retries int, explain func(context.Context, call, error) error) (*client, error) {
	scheme := runtime.NewScheme()
	if err := kubeproberv1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("registering kinds: %w", err)
	}
	config = rest.CopyConfig(config)
	config.APIPath = "/apis"
	config.GroupVersion = &kubeproberv1.GroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.ContentType = runtime.ContentTypeJSON
	config.AcceptContentTypes = runtime.ContentTypeJSON
	// A command makes a handful of requests; the client must not hold them back.
	config.QPS = -1
	made, err := rest.RESTClientForConfigAndClient(config, transport)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &client{rest: made, params: runtime.NewParameterCodec(scheme), retries: retries, explain: explain}, nil
}

// get reads one object into into.
func (c *client) get(ctx context.Context, what call, into runtime.Object) error {
	what.verb = "get"
	err := c.rest.Get().NamespaceIfScoped(what.namespace, what.namespace != "").Resource(what.resource).Name(what.name).
		MaxRetries(c.retries).Do(ctx).Into(into)
	return c.wrap(ctx, what, err)
}

// list reads all pages of a list; each is decoded into what page returns and then given to take, which tells the token of
// the next page.
func (c *client) list(ctx context.Context, what call, selector labels.Selector, page func() (into runtime.Object, take func() string)) error {
	what.verb = "list"
	options := metav1.ListOptions{Limit: pageSize}
	if selector != nil {
		options.LabelSelector = selector.String()
	}
	for {
		into, take := page()
		err := c.rest.Get().NamespaceIfScoped(what.namespace, what.namespace != "").Resource(what.resource).
			VersionedParams(&options, c.params).MaxRetries(c.retries).Do(ctx).Into(into)
		if err != nil {
			return c.wrap(ctx, what, err)
		}
		if options.Continue = take(); options.Continue == "" {
			return nil
		}
	}
}

func (c *client) probeStatuses(ctx context.Context, namespace string) ([]kubeproberv1.ProbeStatus, error) {
	var all []kubeproberv1.ProbeStatus
	err := c.list(ctx, call{resource: "probestatuses", namespace: namespace}, nil, func() (runtime.Object, func() string) {
		page := &kubeproberv1.ProbeStatusList{}
		return page, func() string { all = append(all, page.Items...); return page.Continue }
	})
	return all, err
}

func (c *client) probes(ctx context.Context, namespace string) ([]kubeproberv1.Probe, error) {
	var all []kubeproberv1.Probe
	err := c.list(ctx, call{resource: "probes", namespace: namespace}, nil, func() (runtime.Object, func() string) {
		page := &kubeproberv1.ProbeList{}
		return page, func() string { all = append(all, page.Items...); return page.Continue }
	})
	return all, err
}

func (c *client) clusters(ctx context.Context) ([]kubeproberv1.Cluster, error) {
	var all []kubeproberv1.Cluster
	err := c.list(ctx, call{resource: "clusters"}, nil, func() (runtime.Object, func() string) {
		page := &kubeproberv1.ClusterList{}
		return page, func() string { all = append(all, page.Items...); return page.Continue }
	})
	return all, err
}

func (c *client) probeRuns(ctx context.Context, namespace string, selector labels.Selector) ([]kubeproberv1.ProbeRun, error) {
	var all []kubeproberv1.ProbeRun
	err := c.list(ctx, call{resource: "proberuns", namespace: namespace}, selector, func() (runtime.Object, func() string) {
		page := &kubeproberv1.ProbeRunList{}
		return page, func() string { all = append(all, page.Items...); return page.Continue }
	})
	return all, err
}

// listRun and watchRun read one ProbeRun the way that an informer does; they return the errors of the API server as they are.
func (c *client) listRun(ctx context.Context, namespace, name string, options metav1.ListOptions) (runtime.Object, error) {
	options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	if options.ResourceVersion == "0" {
		// Any version may be served for 0, also one from before the run was made.
		options.ResourceVersion = ""
	}
	into := &kubeproberv1.ProbeRunList{}
	err := c.rest.Get().Namespace(namespace).Resource("proberuns").VersionedParams(&options, c.params).MaxRetries(c.retries).Do(ctx).Into(into)
	return into, err
}

func (c *client) watchRun(ctx context.Context, namespace, name string, options metav1.ListOptions) (watch.Interface, error) {
	options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	options.Watch = true
	return c.rest.Get().Namespace(namespace).Resource("proberuns").VersionedParams(&options, c.params).MaxRetries(c.retries).Watch(ctx)
}

func (c *client) wrap(ctx context.Context, what call, err error) error {
	if err == nil {
		return nil
	}
	return c.explain(ctx, what, err)
}
