// SPDX-License-Identifier: Apache-2.0

// Package simulation makes the flows that an application's connections would be reported as, packet by packet, from
// the application's manifests and a list of who truly talks to whom. What is made of the flows can then be held to the
// truth. It shares no code with what it measures.
package simulation

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
)

//go:embed apps
var apps embed.FS

// truthFile is the one file of an application that is no manifest.
const truthFile = "truth.yaml"

// systemFolder has what every cluster runs.
const systemFolder = "system"

// Application is what somebody would install, and what its parts truly do.
type Application struct {
	Name       string
	folder     fs.FS
	namespaces []*corev1.Namespace
	workloads  []*workload // the system's included
	services   []*service
	externals  map[string]external
	edges      []edge // the system's included
}

// Names are those of the applications that are built in.
func Names() (names []string) {
	entries, err := apps.ReadDir("apps")
	utilruntime.Must(err)
	for _, e := range entries {
		if e.Name() != systemFolder {
			names = append(names, e.Name())
		}
	}
	return names
}

// Named loads an application that is built in.
func Named(name string) (*Application, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("no application %q; there are %s", name, strings.Join(Names(), ", "))
	}
	dir, err := fs.Sub(apps, path.Join("apps", name))
	if err != nil {
		return nil, err
	}
	return Load(name, dir)
}

// Load reads an application: manifests (*.yaml) and truth.yaml, all in one folder.
func Load(name string, dir fs.FS) (*Application, error) {
	app := &Application{Name: name, folder: dir, externals: map[string]external{}}
	system, err := fs.Sub(apps, path.Join("apps", systemFolder))
	if err != nil {
		return nil, err
	}
	for _, folder := range []fs.FS{system, dir} {
		if err := app.addFolder(folder); err != nil {
			return nil, fmt.Errorf("application %s: %w", name, err)
		}
	}
	for _, s := range app.services {
		app.connect(s)
	}
	for _, e := range app.edges {
		if err := app.check(e); err != nil {
			return nil, fmt.Errorf("application %s: %s: edge %s: %w", name, truthFile, e, err)
		}
	}
	return app, nil
}

func (a *Application) addFolder(dir fs.FS) error {
	files, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return err
	}
	for _, f := range files {
		data, err := fs.ReadFile(dir, f)
		if err != nil {
			return err
		}
		add := a.addManifest
		if f == truthFile {
			add = a.addTruth
		}
		if err := add(data); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return nil
}

var decoder = func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme} {
		utilruntime.Must(add(scheme))
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}()

func (a *Application) addManifest(data []byte) error {
	for i, document := range strings.Split(string(data), "\n---\n") {
		o, _, err := decoder.Decode([]byte(document), nil, nil)
		if err != nil {
			return fmt.Errorf("document %d: %w", i+1, err)
		}
		if err := a.add(o); err != nil {
			return fmt.Errorf("document %d: %w", i+1, err)
		}
	}
	return nil
}

func (a *Application) add(object runtime.Object) error {
	o, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	switch object := object.(type) {
	case *corev1.Namespace:
		metav1.SetMetaDataLabel(&object.ObjectMeta, corev1.LabelMetadataName, object.Name) // as the API server does
		a.namespaces = append(a.namespaces, object)
		return nil
	case *corev1.Service:
		a.services = append(a.services, newService(object))
	default:
		w, err := newWorkload(object)
		if err != nil {
			return err
		}
		a.workloads = append(a.workloads, w)
	}
	if !slices.ContainsFunc(a.namespaces, func(n *corev1.Namespace) bool { return n.Name == o.GetNamespace() }) {
		return fmt.Errorf("%s/%s: its namespace is not declared before it", o.GetNamespace(), o.GetName())
	}
	return nil
}

var errUnknown = errors.New("there is no such")

func (a *Application) workload(name string) (*workload, error) {
	for _, w := range a.workloads {
		if w.namespace+"/"+w.name == name {
			return w, nil
		}
	}
	return nil, fmt.Errorf("%w workload: %s", errUnknown, name)
}

func (a *Application) service(name string) (*service, error) {
	for _, s := range a.services {
		if s.Namespace+"/"+s.Name == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w Service: %s", errUnknown, name)
}
