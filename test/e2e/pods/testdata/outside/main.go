// Command outside is a program of another module that uses the Go client of Husk. It creates a pod,
// watches it until it is running, runs a command in it and deletes it.
//
// HUSK_API, HUSK_CLIENT_ID and HUSK_CLIENT_SECRET are the installation and the API key. IMAGE is
// the reference of an image with the commands sleep and echo.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/google/uuid"

	"husk/client"
	"husk/openapi"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, os.Getenv("IMAGE")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, image string) error {
	c, err := client.FromEnvironment()
	if err != nil {
		return err
	}
	if err := importImage(ctx, c, image); err != nil {
		return err
	}
	pod, err := c.Pods.Create(ctx, openapi.PodCreate{
		Name: fmt.Sprintf("outside-%d", os.Getpid()),
		Spec: openapi.PodSpec{
			Resources:  openapi.Resources{CPUMillis: 500, MemoryMiB: 128},
			Containers: []openapi.Container{{Name: "main", Image: image, Command: &[]string{"sleep", "1000000"}}},
		},
	})
	if err != nil {
		return fmt.Errorf("create the pod: %w", err)
	}
	fmt.Println("created", pod.Name)
	if err := until(ctx, c, pod.ID, func(change client.Change[openapi.Pod]) bool {
		return change.Object.Status.Phase == openapi.PodPhaseRunning
	}); err != nil {
		return fmt.Errorf("watch the pod: %w", err)
	}
	fmt.Println("running")

	session, err := c.Pods.Exec(ctx, pod.ID, client.ExecOptions{Command: []string{"echo", "hello from inside"}})
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	if err := session.Stream(ctx, client.Streams{Out: os.Stdout, Err: os.Stderr}); err != nil {
		return fmt.Errorf("exec: %w", err)
	}

	if err := c.Pods.Delete(ctx, pod.ID); err != nil {
		return fmt.Errorf("delete the pod: %w", err)
	}
	_, err = c.Pods.Wait(ctx, pod.ID, func(openapi.Pod) (bool, error) { return false, nil })
	if !client.IsNotFound(err) {
		return fmt.Errorf("wait until the pod is deleted: %w", err)
	}
	fmt.Println("deleted")
	return nil
}

// importImage imports an image that the tenant does not have.
func importImage(ctx context.Context, c *client.Client, reference string) error {
	image, err := c.Images.Find(ctx, reference)
	if client.IsNotFound(err) {
		image, err = c.Images.Import(ctx, openapi.ImageImport{Reference: reference})
	}
	if err != nil {
		return fmt.Errorf("import the image: %w", err)
	}
	_, err = c.Images.WaitReady(ctx, image.ID)
	return err
}

// until watches pods until right returns true for a change of the given pod.
func until(ctx context.Context, c *client.Client, id uuid.UUID, right func(client.Change[openapi.Pod]) bool) error {
	for change, err := range c.Pods.Watch(ctx, client.WatchOptions{}) {
		switch {
		case err != nil:
			return err
		case change.Type == client.Synced || change.Object.ID != id:
		case change.Object.Status.Phase == openapi.PodPhaseFailed:
			return errors.New("the pod failed")
		case right(change):
			return nil
		}
	}
	return nil
}
