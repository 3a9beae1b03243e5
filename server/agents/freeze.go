// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"context"
	"net/http"
	"net/url"

	"husk"
	"husk/openapi"
	"husk/store"
)

// Freeze freezes the file system of a volume in the guest of a pod, by the serial of its disk. The guest thaws it by itself after some seconds.
func (a *Agents) Freeze(ctx context.Context, node husk.Node, pod store.ID, serial string) error {
	return a.callVolume(ctx, node, pod, serial, "freeze")
}

// Thaw ends what Freeze has begun. It fails if the file system is not frozen any more.
func (a *Agents) Thaw(ctx context.Context, node husk.Node, pod store.ID, serial string) error {
	return a.callVolume(ctx, node, pod, serial, "thaw")
}

func (a *Agents) callVolume(ctx context.Context, node husk.Node, pod store.ID, serial, what string) error {
	resp, err := a.CallOK(ctx, node, func(c *openapi.Client) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Server+"v1/pods/"+pod.String()+"/"+what+"?serial="+url.QueryEscape(serial), http.NoBody)
		if err != nil {
			return nil, err
		}
		return c.Client.Do(req)
	})
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
