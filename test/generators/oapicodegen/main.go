// SPDX-License-Identifier: Apache-2.0

// Command oapicodegen uses the client that oapi-codegen generates: it logs in, and creates, lists and deletes a pod.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"husk/test/generators/build/oapicodegen"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	var token string
	c, err := oapicodegen.NewClientWithResponses(os.Getenv("HUSK_API"), oapicodegen.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return nil
	}))
	if err != nil {
		return err
	}
	grant, id, secret := "client_credentials", os.Getenv("HUSK_CLIENT_ID"), os.Getenv("HUSK_CLIENT_SECRET")
	login, err := c.IssueTokenWithFormdataBodyWithResponse(ctx, oapicodegen.IssueTokenFormdataRequestBody{GrantType: &grant, ClientId: &id, ClientSecret: &secret})
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	if login.JSON200 == nil {
		return fmt.Errorf("log in: the response is %s %s", login.Status(), login.Body)
	}
	token = login.JSON200.AccessToken
	created, err := c.CreatePodWithResponse(ctx, nil, oapicodegen.PodCreate{
		Name: "by-oapi-codegen",
		Spec: oapicodegen.PodSpec{
			Containers: []oapicodegen.Container{{Name: "main", Image: os.Getenv("HUSK_IMAGE"), Args: &[]string{"sleep", "1000"}}},
			Resources:  oapicodegen.Resources{CpuMillis: 250, MemoryMiB: 128},
		},
	})
	if err != nil {
		return fmt.Errorf("create a pod: %w", err)
	}
	if created.JSON201 == nil {
		return fmt.Errorf("create a pod: the response is %s %s", created.Status(), created.Body)
	}
	pods, err := c.ListPodsWithResponse(ctx, nil)
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	if pods.JSON200 == nil || len(pods.JSON200.Items) == 0 || pods.JSON200.Items[len(pods.JSON200.Items)-1].Name != created.JSON201.Name {
		return fmt.Errorf("list pods: the response is %s %s", pods.Status(), pods.Body)
	}
	deleted, err := c.DeletePodWithResponse(ctx, *created.JSON201.Id, nil)
	if err != nil {
		return fmt.Errorf("delete the pod: %w", err)
	}
	if deleted.StatusCode() >= http.StatusMultipleChoices {
		return fmt.Errorf("delete the pod: the response is %s %s", deleted.Status(), deleted.Body)
	}
	return nil
}
