// SPDX-License-Identifier: Apache-2.0

// Command ogen uses the client that ogen generates: it logs in, and creates, lists and deletes a pod.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"husk/test/generators/build/ogen"
)

// bearer adds the token to requests.
type bearer struct{ token string }

// Bearer implements api.SecuritySource.
func (b *bearer) Bearer(context.Context, ogen.OperationName) (ogen.Bearer, error) {
	return ogen.Bearer{Token: b.token}, nil
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	login := &bearer{}
	c, err := ogen.NewClient(os.Getenv("HUSK_API"), login)
	if err != nil {
		return err
	}
	res, err := c.IssueToken(ctx, &ogen.IssueTokenReq{
		GrantType: ogen.NewOptString("client_credentials"),
		ClientID:  ogen.NewOptString(os.Getenv("HUSK_CLIENT_ID")), ClientSecret: ogen.NewOptString(os.Getenv("HUSK_CLIENT_SECRET")),
	})
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	token, ok := res.(*ogen.Token)
	if !ok {
		return fmt.Errorf("log in: the response is %T %+v", res, res)
	}
	login.token = token.AccessToken
	created, err := c.CreatePod(ctx, &ogen.PodCreate{
		Name: "by-ogen",
		Spec: ogen.PodSpec{
			Containers: []ogen.Container{{Name: "main", Image: os.Getenv("HUSK_IMAGE"), Args: []string{"sleep", "1000"}}},
			Resources:  ogen.Resources{CpuMillis: 250, MemoryMiB: 128},
		},
	}, ogen.CreatePodParams{})
	if err != nil {
		return fmt.Errorf("create a pod: %w", err)
	}
	pods, err := c.ListPods(ctx, ogen.ListPodsParams{})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	list, ok := pods.(*ogen.PodList)
	if !ok || len(list.Items) != 1 || list.Items[0].ID != created.Response.ID || list.Items[0].Name != "by-ogen" {
		return fmt.Errorf("the list of pods is %T %+v", pods, pods)
	}
	if _, err := c.DeletePod(ctx, ogen.DeletePodParams{PodId: created.Response.ID}); err != nil {
		return fmt.Errorf("delete the pod: %w", err)
	}
	return nil
}
