package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"husk"
	"husk/store/db"
)

func nodeOf(n db.Node) husk.Node {
	return husk.Node{
		ID: n.ID, Name: n.Name, State: n.State, Capacity: husk.Resources{CPUMillis: n.CpuMillis, MemoryMiB: n.MemoryMib},
		Allocated:      husk.Resources{CPUMillis: n.AllocatedCpuMillis, MemoryMiB: n.AllocatedMemoryMib},
		VMMOverheadMiB: n.VmmOverheadMib, Endpoint: n.Endpoint, Certificate: n.Certificate, CreatedAt: n.CreatedAt, HeartbeatAt: n.HeartbeatAt,
	}
}

// JoinToken is a token with which one node may join.
type JoinToken struct {
	Token     string
	ExpiresAt time.Time
}

// CreateJoinToken makes a token with which one node may join, and returns it; its hash is kept, and the token sealed for a day in case
// the request is repeated. Codes: idempotency_mismatch.
func (s *Store) CreateJoinToken(ctx context.Context, idem Idempotency, life time.Duration) (JoinToken, error) {
	return inControl(ctx, s, func(q *db.Queries) (JoinToken, error) {
		if err := q.LockOperators(ctx); err != nil {
			return JoinToken{}, err
		}
		return creatingSecret(ctx, s, q, platform, idem, func() (ID, JoinToken, error) {
			t := JoinToken{NewSecret(), time.Now().Add(life)}
			id := uuid.New()
			if err := q.InsertJoinToken(ctx, db.InsertJoinTokenParams{Hash: hashSecret(t.Token), ExpiresAt: t.ExpiresAt}); err != nil {
				return id, t, err
			}
			return id, t, audit(ctx, q, platform, "joinToken", id.String())
		})
	})
}

// RegisterNode admits a node by its join token and gives it a credential. The same token with the same name again, as long as the
// node has sent no heartbeat, replaces the credential: the first answer was lost. Codes: unauthenticated, name_taken.
func (s *Store) RegisterNode(ctx context.Context, token, name string) (id, clientID ID, secret string, err error) {
	type registered struct {
		id, clientID ID
		secret       string
	}
	r, err := inControl(ctx, s, func(q *db.Queries) (registered, error) {
		refused := husk.Errorf(husk.CodeUnauthenticated, "token", "the join token is unknown, expired or used; ask an operator for a new one")
		row, err := q.LockJoinToken(ctx, hashSecret(token))
		if errors.Is(err, pgx.ErrNoRows) {
			return registered{}, refused
		}
		if err != nil {
			return registered{}, err
		}
		var node db.Node
		if row.NodeID != nil {
			if node, err = q.LockNode(ctx, *row.NodeID); err != nil {
				return registered{}, err
			}
			if node.State != husk.NodeJoining || node.Name != name {
				return registered{}, refused
			}
			if err := q.RevokeNodeCredentials(ctx, node.ID); err != nil {
				return registered{}, err
			}
		} else {
			if row.UsedAt != nil {
				return registered{}, refused
			}
			node, err = q.InsertNode(ctx, db.InsertNodeParams{ID: uuid.New(), Name: name})
			if uniqueViolation(err, "nodes_name_key") {
				return registered{}, husk.Errorf(husk.CodeNameTaken, "name", "a node named %q exists already; remove it first if it is to be replaced", name)
			}
			if err != nil {
				return registered{}, err
			}
			if err := q.UseJoinToken(ctx, db.UseJoinTokenParams{Hash: row.Hash, NodeID: node.ID}); err != nil {
				return registered{}, err
			}
		}
		clientID, secret, err := insertCredential(ctx, q, db.InsertCredentialParams{Kind: husk.CallerAgent, NodeID: &node.ID, Name: name})
		return registered{node.ID, clientID, secret}, err
	})
	return r.id, r.clientID, r.secret, err
}

// Heartbeat renews a node's lease and records what it reports of itself. It returns whether the agent is to report
// every pod again: the node had not been Ready, or that answer was lost and pods are still Unknown. Codes: not_found.
func (s *Store) Heartbeat(ctx context.Context, n husk.Node) (resync bool, err error) {
	return inControl(ctx, s, func(q *db.Queries) (bool, error) {
		was, err := q.Heartbeat(ctx, db.HeartbeatParams{
			ID: n.ID, CpuMillis: n.Capacity.CPUMillis, MemoryMib: n.Capacity.MemoryMiB, VmmOverheadMib: n.VMMOverheadMiB,
			Endpoint: n.Endpoint, Certificate: n.Certificate,
		})
		if err != nil {
			return false, orNotFound(err, "node")
		}
		if was.State == husk.NodeReady {
			return was.HasUnknownPods, nil
		}
		return true, q.Notify(ctx, topicWork)
	})
}

// Node returns a node. Codes: not_found.
func (s *Store) Node(ctx context.Context, id ID) (husk.Node, error) {
	return inControl(ctx, s, func(q *db.Queries) (husk.Node, error) {
		row, err := q.Node(ctx, id)
		return nodeOf(row), orNotFound(err, "node")
	})
}

// NodeOfPod returns the node that a tenant's pod is on, and false while it is on none. Codes: not_found.
func (s *Store) NodeOfPod(ctx context.Context, tenantID, podID ID) (husk.Node, bool, error) {
	node, err := inTenant(ctx, s, tenantID, func(q *db.Queries) (*ID, error) {
		row, err := q.Pod(ctx, db.PodParams{TenantID: tenantID, ID: podID})
		return row.Pod.NodeID, orNotFound(err, "pod")
	})
	if err != nil || node == nil {
		return husk.Node{}, false, err
	}
	n, err := s.Node(ctx, *node)
	return n, err == nil, err
}

// Nodes returns every node, by name.
func (s *Store) Nodes(ctx context.Context) ([]husk.Node, error) {
	return inControl(ctx, s, func(q *db.Queries) ([]husk.Node, error) {
		rows, err := q.Nodes(ctx)
		return convertAll(rows, nodeOf), err
	})
}

// DeleteNode forgets a node that has no pods, and its credential with it. Codes: not_found, conflict,
// precondition_failed.
func (s *Store) DeleteNode(ctx context.Context, id ID) error {
	_, err := inControl(ctx, s, func(q *db.Queries) (struct{}, error) {
		row, err := q.LockNode(ctx, id)
		if err != nil {
			return struct{}{}, orNotFound(err, "node")
		}
		if err := ifMatch(ctx, nodeOf(row)); err != nil {
			return struct{}{}, err
		}
		busy, err := q.NodeHasPods(ctx, id)
		if err != nil {
			return struct{}{}, err
		}
		if busy {
			return struct{}{}, husk.Errorf(husk.CodeConflict, "", "the node still has pods; delete them first")
		}
		if _, err = q.DeleteNode(ctx, id); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, audit(ctx, q, platform, "node", id.String())
	})
	return err
}

// MarkLost takes a node for lost whose last heartbeat is still the one that was judged, and its pods for Unknown. It returns how
// many pods; nothing happens when a heartbeat came meanwhile or another server leads.
func (s *Store) MarkLost(ctx context.Context, epoch int64, node husk.Node) (bool, int, error) {
	type outcome struct {
		lost bool
		pods int
	}
	o, err := inControl(ctx, s, func(q *db.Queries) (outcome, error) {
		if _, err := q.CheckEpoch(ctx, epoch); err != nil {
			return outcome{}, ignoreNoRows(err)
		}
		n, err := q.SetNodeLost(ctx, db.SetNodeLostParams{ID: node.ID, HeartbeatAt: node.HeartbeatAt})
		if err != nil || n == 0 {
			return outcome{}, err
		}
		pods, err := q.PodsOfLostNode(ctx, node.ID)
		if err != nil {
			return outcome{}, err
		}
		for _, p := range pods {
			next, ok := p.Phase.Next(husk.EventNodeLost)
			if !ok {
				continue
			}
			if err := q.UpdatePodStatus(ctx, db.UpdatePodStatusParams{
				TenantID: p.TenantID, ID: p.ID, Phase: next, Reason: "NodeLost", Message: "the node does not answer; what runs there is not known",
				ObservedGeneration: p.ObservedGeneration, Restarts: p.Restarts, Containers: p.Containers, DomainStartingAt: p.DomainStartingAt,
				DomainStartedAt: p.DomainStartedAt, GuestReadyAt: p.GuestReadyAt, RunningAt: p.RunningAt,
			}); err != nil {
				return outcome{}, err
			}
			if err := record(ctx, q, p.TenantID, "pod", p.ID, string(next), "node lost"); err != nil {
				return outcome{}, err
			}
		}
		return outcome{true, len(pods)}, nil
	})
	return o.lost, o.pods, err
}

func ignoreNoRows(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}
