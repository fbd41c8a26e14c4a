// Copyright 2026 The Kubeprober Authors.
// SPDX-License-Identifier: Apache-2.0

package k8s

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// errRelist says that a watch cannot go on and the list must be taken anew.
var errRelist = errors.New("the watch has ended")

// collection is one kind in one place: the methods of a typed client that waiting needs.
type collection[L runtime.Object] interface {
	List(ctx context.Context, options metav1.ListOptions) (L, error)
	Watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)
}

// await watches the objects that match the options until done says that they are as wanted, or fails. done sees all of
// them, at first and after each change. Interruptions of the API server are waited out until ctx ends; the error then
// names the last one.
func await[T metav1.Object, L runtime.Object](
	ctx context.Context, c collection[L], options metav1.ListOptions, done func(objects map[types.UID]T) (bool, error),
) error {
	var last error
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Cap: 5 * time.Second, Steps: 1 << 20}
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		err := listAndWatch(ctx, c, options, done)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, errRelist):
			last = nil
			return false, nil
		case ctx.Err() != nil:
			return false, ctx.Err()
		case isListError(err) && !hopeless(err):
			last = err
			return false, nil
		default:
			return false, err
		}
	})
	if ctx.Err() != nil && err != nil {
		return errors.Join(ctx.Err(), last)
	}
	return err
}

// listError is an error of reading, as opposed to a verdict of done.
type listError struct{ error }

func (e listError) Unwrap() error { return e.error }

func isListError(err error) bool {
	var read listError
	return errors.As(err, &read)
}

func listAndWatch[T metav1.Object, L runtime.Object](
	ctx context.Context, c collection[L], options metav1.ListOptions, done func(objects map[types.UID]T) (bool, error),
) error {
	list, err := c.List(ctx, options)
	if err != nil {
		return listError{fmt.Errorf("listing: %w", err)}
	}
	objects := map[types.UID]T{}
	err = meta.EachListItem(list, func(item runtime.Object) error {
		object, ok := item.(T)
		if !ok {
			return fmt.Errorf("the API server listed a %T", item)
		}
		objects[object.GetUID()] = object
		return nil
	})
	if err != nil {
		return err
	}
	if ok, err := done(objects); ok || err != nil {
		return err
	}
	accessor, err := meta.ListAccessor(list)
	if err != nil {
		return fmt.Errorf("reading the version of the list: %w", err)
	}
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, accessor.GetResourceVersion(), &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector, o.FieldSelector = options.LabelSelector, options.FieldSelector
			return c.Watch(ctx, o)
		},
	})
	if err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	defer func() {
		watcher.Stop()
		<-watcher.Done()
	}()
	for event := range watcher.ResultChan() {
		if err := apply(objects, event); err != nil {
			return err
		}
		if ok, err := done(objects); ok || err != nil {
			return err
		}
	}
	return errRelist
}

func apply[T metav1.Object](objects map[types.UID]T, event watch.Event) error {
	if event.Type == watch.Error {
		err := apierrors.FromObject(event.Object)
		if hopeless(err) {
			return listError{fmt.Errorf("watching: %w", err)}
		}
		return errRelist
	}
	object, ok := event.Object.(T)
	if !ok {
		return fmt.Errorf("the API server sent a %T", event.Object)
	}
	if event.Type == watch.Deleted {
		delete(objects, object.GetUID())
	} else {
		objects[object.GetUID()] = object
	}
	return nil
}

// named selects the one object of that name.
func named(name string) metav1.ListOptions {
	return metav1.ListOptions{FieldSelector: "metadata.name=" + name}
}

// gone is the condition that no object is left.
func gone[T metav1.Object](objects map[types.UID]T) (bool, error) { return len(objects) == 0, nil }
