// SPDX-License-Identifier: Apache-2.0

// Package client is the Go client of the Husk API.
//
// [New] makes a [Client] for one installation and one identity:
//
//	c, err := client.New("https://husk.example.com", client.WithAPIKey(id, secret))
//
// [FromEnvironment] makes the same from HUSK_API, HUSK_CLIENT_ID and HUSK_CLIENT_SECRET. Neither function calls the API: the client gets a
// token at its first call, and renews the token from then on. A user who logs in at an OIDC issuer has an ID token instead of a key; see [WithIDToken],
// and package client/oidc for a login from a terminal.
//
// # Objects
//
// The methods are grouped by noun: [Client.Pods], [Client.Volumes], [Client.Images] and so on. They take and return types of package
// husk/openapi, which are generated from the API's contract.
//
//	pod, err := c.Pods.Create(ctx, openapi.PodCreate{Name: "web", Spec: …})
//	pod, err = c.Pods.Get(ctx, pod.ID)
//	pod, err = c.Pods.Find(ctx, "web") // by name or by ID
//	err = c.Pods.Delete(ctx, pod.ID)
//
// Create sends an Idempotency-Key, so the client can repeat a request whose response was lost. Delete returns when the API has accepted the
// deletion request, not when the object is deleted.
//
// To call an operation that has no method here, use [Client.API], the generated client, which shares this client's token and its retries.
// [Decode] turns its responses into objects and errors.
//
// # Lists and watches
//
// A list is an iterator that fetches page after page; [Collect] makes a slice of it.
//
//	for pod, err := range c.Pods.List(ctx, client.Select{Labels: "app=web"}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(pod.Name, pod.Status.Phase)
//	}
//
// Watch yields the existing objects, then [Synced], then every change. If the connection is lost, the watch opens it again.
// No change is repeated or missed, but several changes of one object during the gap arrive as one. The watch ends with its context.
//
// # Running pods
//
// Exec, Attach and Console open a [Session]; [Session.Stream] connects it to readers and writers, and returns an [*ExitError] if the
// command failed. Logs is an iterator over lines. Forward and DialPort reach a port of a pod, Download and Upload copy files.
//
//	s, err := c.Pods.Exec(ctx, pod.ID, client.ExecOptions{Command: []string{"ls", "/"}})
//	if err == nil {
//		err = s.Stream(ctx, client.Streams{Out: os.Stdout, Err: os.Stderr})
//	}
//
// # Errors
//
// Most errors have one of four types, which [errors.As] finds:
//
//   - [*Error]: the API refused the request. Programs should check its Code, which is stable; [IsNotFound] and [HasCode] are shortcuts.
//   - [*LoginError]: there is no valid login.
//   - [*UnreachableError]: there was no response, or it did not come from Husk. The client has already retried where that is safe.
//   - [*ExitError]: a command in a pod ended with an exit code other than 0.
//
// # Retries
//
// The client repeats a request up to four times if the connection broke, if the API is temporarily unavailable (503), or if there were too
// many requests (429), and honours Retry-After up to 30 seconds. It repeats only what is safe to repeat. A context with a deadline bounds
// all attempts together.
//
// Of Husk's packages, this one imports only the contract, the vocabulary and the frames of a session. It needs no cgo.
package client
