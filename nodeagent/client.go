package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/oauth2/clientcredentials"

	"husk"
	"husk/openapi"
)

// serverClient is the API as the agent sees it. Tokens are fetched and renewed by the OAuth2 library.
type serverClient struct {
	api *openapi.ClientWithResponses
}

// pollWait is how long a request for the desired state stays open.
const pollWait = 25 * time.Second

func newServerClient(url string, id *identity) *serverClient {
	oauth := clientcredentials.Config{ClientID: id.ClientID.String(), ClientSecret: id.ClientSecret, TokenURL: url + "/oauth2/token"}
	client := oauth.Client(context.Background()) //nolint:contextcheck // it lives as long as the agent; calls bring their own context
	client.Timeout = pollWait + 15*time.Second
	api, err := openapi.NewClientWithResponses(url, openapi.WithHTTPClient(client))
	if err != nil {
		panic(err) // only an option can fail, and ours does not
	}
	return &serverClient{api}
}

// desired waits for a desired state above the revision that is known, or for the poll to run out.
func (s *serverClient) desired(ctx context.Context, after int64) (husk.DesiredState, error) {
	wait := int(pollWait.Seconds())
	resp, err := s.api.GetDesiredStateWithResponse(ctx, &openapi.GetDesiredStateParams{After: &after, WaitSeconds: &wait})
	if err != nil {
		return husk.DesiredState{}, fmt.Errorf("ask for the desired state: %w", err)
	}
	if resp.JSON200 == nil {
		return husk.DesiredState{}, refused("the desired state", resp.HTTPResponse, resp.Body)
	}
	return openapi.Recast[husk.DesiredState](resp.JSON200)
}

func (s *serverClient) heartbeat(ctx context.Context, h openapi.Heartbeat) (openapi.Lease, error) {
	resp, err := s.api.HeartbeatWithResponse(ctx, h)
	if err != nil {
		return openapi.Lease{}, fmt.Errorf("send a heartbeat: %w", err)
	}
	if resp.JSON200 == nil {
		return openapi.Lease{}, refused("a heartbeat", resp.HTTPResponse, resp.Body)
	}
	return *resp.JSON200, nil
}

func (s *serverClient) report(ctx context.Context, reports []husk.PodReport) error {
	pods, err := openapi.Recast[[]openapi.PodReport](reports)
	if err != nil {
		return err
	}
	resp, err := s.api.ReportStatusWithResponse(ctx, openapi.StatusReport{Pods: pods})
	if err != nil {
		return fmt.Errorf("report the status of %d pods: %w", len(reports), err)
	}
	if resp.StatusCode() != http.StatusNoContent {
		return refused("a status report", resp.HTTPResponse, resp.Body)
	}
	return nil
}

// keySet returns the public keys with which the server signs, by id.
func (s *serverClient) keySet(ctx context.Context) ([]openapi.Key, error) {
	resp, err := s.api.GetKeySetWithResponse(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for the server's keys: %w", err)
	}
	if resp.JSON200 == nil {
		return nil, refused("its keys", resp.HTTPResponse, resp.Body)
	}
	return resp.JSON200.Keys, nil
}

var errRefused = errors.New("the server refuses")

func refused(what string, resp *http.Response, body []byte) error {
	return fmt.Errorf("%w %s: %s: %s", errRefused, what, resp.Status, body)
}
