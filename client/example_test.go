// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"husk"
	"husk/client"
	"husk/openapi"
)

// These examples run against a real server. Their pods run on a node without machines, whose
// containers understand the commands "stay", "say" and "repeat"; see package test/site.

// newPod describes a small pod with one container.
func newPod(name string, args ...string) openapi.PodCreate {
	return openapi.PodCreate{
		Name:   name,
		Labels: &openapi.Labels{"app": name},
		Spec: openapi.PodSpec{
			Resources:     openapi.Resources{CPUMillis: 500, MemoryMiB: 256},
			RestartPolicy: new(openapi.Never),
			Containers:    []openapi.Container{{Name: "main", Image: "registry.example.com/busybox:1", Args: &args}},
		},
	}
}

// Create a pod, wait until it is running, and delete it.
func Example() {
	ctx := context.Background()
	c, err := client.FromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	pod, err := c.Pods.Create(ctx, newPod("web", "stay"))
	if err != nil {
		log.Fatal(err)
	}
	pod, err = c.Pods.Wait(ctx, pod.ID, func(p openapi.Pod) (bool, error) {
		return p.Status.Phase == openapi.PodPhaseRunning, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pod.Name, "is", pod.Status.Phase)
	if err := c.Pods.Delete(ctx, pod.ID); err != nil {
		log.Fatal(err)
	}
	_, err = c.Pods.Wait(ctx, pod.ID, func(openapi.Pod) (bool, error) { return false, nil })
	fmt.Println("deleted:", client.IsNotFound(err))
	// Output:
	// web is Running
	// deleted: true
}

func ExampleNew() {
	c, err := client.New("https://husk.example.com", client.WithAPIKey("4f5c0f0e-6d5e-4c7b-8d3c-0c8a4f1f2f11", "secret"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.URL())
	// Output: https://husk.example.com
}

// A user of an OIDC issuer has an ID token instead of an API key.
func ExampleWithIDToken() { //nolint:testableexamples // the tests have no issuer of this kind
	c, err := client.New("https://husk.example.com", client.WithIDToken(func() (string, error) {
		token, err := os.ReadFile("/var/run/secrets/id-token")
		return string(token), err
	}, "acme"))
	if err != nil {
		log.Fatal(err)
	}
	who, err := c.WhoAmI(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(who.Name)
}

func ExampleImages_Import() { //nolint:testableexamples // the tests have no Ceph to import into
	ctx := context.Background()
	c, err := client.FromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	image, err := c.Images.Import(ctx, openapi.ImageImport{Reference: "registry.example.com/nginx:1.22"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Images.WaitReady(ctx, image.ID); err != nil {
		log.Fatal(err)
	}
}

func ExamplePods_List() {
	ctx := context.Background()
	c, err := client.FromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"list-a", "list-b"} {
		pod := newPod(name, "stay")
		pod.Labels = &openapi.Labels{"app": "list"}
		if _, err := c.Pods.Create(ctx, pod); err != nil {
			log.Fatal(err)
		}
	}
	for pod, err := range c.Pods.List(ctx, client.Select{Labels: "app=list"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(pod.Name)
	}
	// Unordered output:
	// list-a
	// list-b
}

// Watch a pod until it has ended. The loop ends the watch.
func ExamplePods_Watch() {
	ctx := context.Background()
	c, err := client.FromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Pods.Create(ctx, newPod("job", "say", "done")); err != nil {
		log.Fatal(err)
	}
	for change, err := range c.Pods.Watch(ctx, client.WatchOptions{Select: client.Select{Labels: "app=job"}}) {
		if err != nil {
			log.Fatal(err)
		}
		if change.Type != client.Synced && change.Object.Status.Phase == openapi.PodPhaseSucceeded {
			fmt.Println(change.Object.Name, "has succeeded")
			break
		}
	}
	// Output: job has succeeded
}

func ExamplePods_Logs() {
	ctx := context.Background()
	c, err := client.FromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	pod, err := c.Pods.Create(ctx, newPod("logs", "say", "hello"))
	if err != nil {
		log.Fatal(err)
	}
	for line, err := range c.Pods.Logs(ctx, pod.ID, client.LogOptions{Follow: true}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(line.Stream, line.Line)
	}
	// Output: stdout hello
}

// running creates a pod and waits until it is running.
func running(ctx context.Context, c *client.Client, name string) uuid.UUID {
	pod, err := c.Pods.Create(ctx, newPod(name, "stay"))
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.Pods.Wait(ctx, pod.ID, func(p openapi.Pod) (bool, error) { return p.Status.Phase == openapi.PodPhaseRunning, nil }); err != nil {
		log.Fatal(err)
	}
	return pod.ID
}

func ExamplePods_Exec() {
	ctx := context.Background()
	c, err := client.FromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	pod := running(ctx, c, "exec")
	session, err := c.Pods.Exec(ctx, pod, client.ExecOptions{Command: []string{"fail", "3", "oops"}})
	if err != nil {
		log.Fatal(err)
	}
	err = session.Stream(ctx, client.Streams{Out: os.Stdout, Err: os.Stdout})
	if failed, ok := errors.AsType[*client.ExitError](err); ok {
		fmt.Println("exit code", failed.Code)
	}
	// Output:
	// oops
	// exit code 3
}

// DialPort has the signature that database drivers and http.Transport need.
func ExamplePods_DialPort() {
	ctx := context.Background()
	c, err := client.FromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	conn, err := c.Pods.DialPort(ctx, running(ctx, c, "echo"), 7)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		log.Fatal(err)
	}
	reply := make([]byte, 5)
	if _, err := io.ReadFull(conn, reply); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", reply)
	if err := conn.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: hello
}

func ExamplePods_Upload() {
	ctx := context.Background()
	c, err := client.FromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	pod := running(ctx, c, "files")
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "motd"), []byte("welcome\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := c.Pods.Upload(ctx, pod, filepath.Join(dir, "motd"), client.CopyOptions{Path: "/etc/motd"}); err != nil {
		log.Fatal(err)
	}
	if err := c.Pods.Download(ctx, pod, client.CopyOptions{Path: "/etc/motd"}, filepath.Join(dir, "copy")); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "copy"))
	fmt.Println(strings.TrimSpace(string(text)), err)
	if err := os.RemoveAll(dir); err != nil {
		log.Fatal(err)
	}
	// Output: welcome <nil>
}

// Programs should check the code of an error, never its text.
func ExampleError() {
	ctx := context.Background()
	c, err := client.FromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.Volumes.Create(ctx, openapi.VolumeCreate{Name: "Not a name", SizeGiB: 1})
	if refused, ok := errors.AsType[*client.Error](err); ok {
		fmt.Println(refused.Status, refused.Code, refused.Field)
	}
	_, err = c.Volumes.Find(ctx, "nowhere")
	fmt.Println(client.IsNotFound(err), client.HasCode(err, husk.CodeForbidden))
	// Output:
	// 422 invalid name
	// true false
}

// Operations without a method can be called through the generated client.
func ExampleClient_API() {
	ctx := context.Background()
	c, err := client.FromEnvironment()
	if err != nil {
		log.Fatal(err)
	}
	who, err := client.Decode[openapi.Identity](c.API().WhoAmI(ctx))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(who.Name, *who.Role)
	// Output: owner owner
}
