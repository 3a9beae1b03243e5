// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Role is what a caller may do in a tenant.
type Role string

// The roles. Each includes the permissions of those before it.
const (
	RoleViewer    Role = "viewer"    // reads
	RoleDeveloper Role = "developer" // also creates and deletes
	RoleOwner     Role = "owner"     // also manages access, and reads the audit log
)

// Roles lists the roles, lowest first.
var Roles = []Role{RoleViewer, RoleDeveloper, RoleOwner}

// Includes reports whether r has every permission of other.
func (r Role) Includes(other Role) bool {
	have, want := slices.Index(Roles, r), slices.Index(Roles, other)
	return have >= 0 && want >= 0 && have >= want
}

// KeyLimit restricts what the tokens of an API key may be used for, whatever the role.
type KeyLimit string

// LimitedToMetrics allows a key's tokens to scrape metrics and nothing else. A key without a limit has the empty string.
const LimitedToMetrics KeyLimit = "metrics"

// CallerKind distinguishes tenants, operators and agents.
type CallerKind string

// The kinds of callers.
const (
	CallerTenant   CallerKind = "tenant"
	CallerOperator CallerKind = "operator"
	CallerAgent    CallerKind = "agent"
)

// Caller is the authenticated caller of a request.
type Caller struct {
	Kind     CallerKind
	ID       uuid.UUID // of the service account, user, operator's credential or node
	KeyID    uuid.UUID // the API key of a service account
	Name     string    // for people and the audit log; no decision depends on it
	Role     Role      // for callers of a tenant
	Limit    KeyLimit  // of the API key
	TenantID uuid.UUID // for callers of a tenant
	NodeID   uuid.UUID // for agents
	// LoggedInAt is when the caller presented credentials. Renewing a token does not change it.
	LoggedInAt time.Time
}

// ActorKind returns the kind of the caller in the audit log.
func (c Caller) ActorKind() string {
	switch {
	case c.Kind == CallerOperator:
		return "operator"
	case c.Kind == CallerAgent:
		return "node"
	case c.KeyID != uuid.Nil:
		return "serviceAccount"
	default:
		return "user"
	}
}

// ServiceAccount is the identity of a program in a tenant.
type ServiceAccount struct {
	ID        uuid.UUID `json:"id"`
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	CreatedAt time.Time `json:"createdAt"`
}

// APIKey is a client id and secret of a service account.
type APIKey struct {
	ClientID         uuid.UUID  `json:"clientId"`
	Secret           string     `json:"clientSecret,omitempty"` // only set when the key is created; the database keeps a hash
	Name             string     `json:"name"`
	ServiceAccountID uuid.UUID  `json:"serviceAccountId"`
	CreatedAt        time.Time  `json:"createdAt"`
	ExpiresAt        *time.Time `json:"expiresAt,omitempty"`
	LastUsedAt       *time.Time `json:"lastUsedAt,omitempty"` // to the minute
	LimitedTo        KeyLimit   `json:"limitedTo,omitempty"`
}

// User is a person in a tenant whom an OIDC issuer authenticates.
type User struct {
	ID          uuid.UUID  `json:"id"`
	Issuer      string     `json:"issuer"`
	Subject     string     `json:"subject,omitempty"` // the issuer's id of the user; empty until an invited user has logged in
	Email       string     `json:"email,omitempty"`
	Name        string     `json:"name,omitempty"`
	Role        Role       `json:"role"`
	Mapped      bool       `json:"mapped"` // the role comes from the issuer's role mappings and is updated at every login
	Disabled    bool       `json:"disabled"`
	CreatedAt   time.Time  `json:"createdAt"`
	LastLoginAt *time.Time `json:"lastLoginAt,omitempty"`
}

// RoleMapping grants a role to ID tokens with a given claim.
type RoleMapping struct {
	Claim    string     `json:"claim"`
	Value    string     `json:"value"` // the value of the claim, or one of its elements
	Role     Role       `json:"role"`
	TenantID *uuid.UUID `json:"tenantId,omitempty"` // only in mappings of the installation's issuers
}

// Fits reports whether the claims of an ID token match the mapping.
func (m RoleMapping) Fits(claims map[string]any) bool {
	switch v := claims[m.Claim].(type) {
	case string:
		return v == m.Value
	case []any:
		return slices.Contains(v, any(m.Value))
	default:
		return false
	}
}

// OIDCIssuer is an OpenID Connect issuer whose ID tokens are trusted, either by one tenant or by the installation for the tenants in its
// role mappings.
type OIDCIssuer struct {
	ID           uuid.UUID     `json:"id"`
	TenantID     uuid.UUID     `json:"-"` // zero for an issuer of the installation
	Name         string        `json:"name"`
	Issuer       string        `json:"issuer"`
	ClientID     string        `json:"clientId"` // the audience that ID tokens must have
	RoleMappings []RoleMapping `json:"roleMappings"`
	CreatedAt    time.Time     `json:"createdAt"`
}

// Event is something that happened to an object.
type Event struct {
	ID       uuid.UUID `json:"id"`
	Kind     string    `json:"kind"`
	ObjectID uuid.UUID `json:"objectId"`
	Reason   string    `json:"reason"`
	Message  string    `json:"message,omitempty"`
	At       time.Time `json:"at"`
}

// AuditEntry records one change, or one opened session: who did what, when and from where.
type AuditEntry struct {
	ID         uuid.UUID   `json:"id"`
	At         time.Time   `json:"at"`
	Operation  string      `json:"operation"`
	TenantID   *uuid.UUID  `json:"tenantId,omitempty"`
	ObjectKind string      `json:"objectKind,omitempty"`
	ObjectID   string      `json:"objectId,omitempty"`
	Detail     string      `json:"detail,omitempty"` // details, such as a command line
	ActorKind  string      `json:"actorKind"`
	ActorID    uuid.UUID   `json:"actorId"`
	ActorName  string      `json:"actorName"`
	KeyID      *uuid.UUID  `json:"keyId,omitempty"`
	Address    *netip.Addr `json:"address,omitempty"`
	RequestID  string      `json:"requestId"`
}
