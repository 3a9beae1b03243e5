package husk

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Role is what one may do in a tenant.
type Role string

// The roles, each with what the ones before it may do.
const (
	RoleViewer    Role = "viewer"    // reads
	RoleDeveloper Role = "developer" // also orders and deletes
	RoleOwner     Role = "owner"     // also decides who may, and reads the audit log
)

// Roles lists the roles, lowest first.
var Roles = []Role{RoleViewer, RoleDeveloper, RoleOwner}

// Includes tells whether r may do what other may.
func (r Role) Includes(other Role) bool {
	have, want := slices.Index(Roles, r), slices.Index(Roles, other)
	return have >= 0 && want >= 0 && have >= want
}

// KeyLimit says what the tokens of an API key may be used for at most, whatever the role.
type KeyLimit string

// LimitedToMetrics lets a key's tokens scrape, and nothing else. A key without a limit has the empty one.
const LimitedToMetrics KeyLimit = "metrics"

// CallerKind tells tenants, operators and agents apart.
type CallerKind string

// The kinds of callers.
const (
	CallerTenant   CallerKind = "tenant"
	CallerOperator CallerKind = "operator"
	CallerAgent    CallerKind = "agent"
)

// Caller is who a verified token speaks for.
type Caller struct {
	Kind     CallerKind
	ID       uuid.UUID // of the service account, user, operator's credential or node
	KeyID    uuid.UUID // the API key of a service account
	Name     string    // for people and the audit log; nothing is decided by it
	Role     Role      // of tenants' callers
	Limit    KeyLimit  // of the API key
	TenantID uuid.UUID // of tenants' callers
	NodeID   uuid.UUID // of agents
	// LoggedInAt is when credentials were shown; tokens that were renewed since say the same.
	LoggedInAt time.Time
}

// ActorKind is how the audit log tells callers apart.
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

// ServiceAccount is who a program is in its tenant.
type ServiceAccount struct {
	ID        uuid.UUID `json:"id"`
	Name      string    `json:"name"`
	Role      Role      `json:"role"`
	CreatedAt time.Time `json:"createdAt"`
}

// APIKey is a client id and secret of a service account.
type APIKey struct {
	ClientID         uuid.UUID  `json:"clientId"`
	Secret           string     `json:"clientSecret,omitempty"` // only set when it is made; kept as a hash
	Name             string     `json:"name"`
	ServiceAccountID uuid.UUID  `json:"serviceAccountId"`
	CreatedAt        time.Time  `json:"createdAt"`
	ExpiresAt        *time.Time `json:"expiresAt,omitempty"`
	LastUsedAt       *time.Time `json:"lastUsedAt,omitempty"` // to the minute
	LimitedTo        KeyLimit   `json:"limitedTo,omitempty"`
}

// User is a person in a tenant, known by an OIDC issuer.
type User struct {
	ID          uuid.UUID  `json:"id"`
	Issuer      string     `json:"issuer"`
	Subject     string     `json:"subject,omitempty"` // the issuer's name for the user; empty until an invited user has logged in
	Email       string     `json:"email,omitempty"`
	Name        string     `json:"name,omitempty"`
	Role        Role       `json:"role"`
	Mapped      bool       `json:"mapped"` // the role comes from the issuer's mappings and is looked up at every login
	Disabled    bool       `json:"disabled"`
	CreatedAt   time.Time  `json:"createdAt"`
	LastLoginAt *time.Time `json:"lastLoginAt,omitempty"`
}

// RoleMapping is a claim of an ID token that gives a role.
type RoleMapping struct {
	Claim    string     `json:"claim"`
	Value    string     `json:"value"` // what the claim is, or one of its elements
	Role     Role       `json:"role"`
	TenantID *uuid.UUID `json:"tenantId,omitempty"` // only of the installation's issuers
}

// Fits tells whether an ID token's claims have what the mapping asks for.
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

// OIDCIssuer is an OpenID Connect issuer whose ID tokens are trusted: by one tenant, or by the installation for the tenants that its
// mappings name.
type OIDCIssuer struct {
	ID           uuid.UUID     `json:"id"`
	TenantID     uuid.UUID     `json:"-"` // zero for the installation's
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

// AuditEntry is one change that was made, or one session that was opened: who did what, when and from where.
type AuditEntry struct {
	ID         uuid.UUID   `json:"id"`
	At         time.Time   `json:"at"`
	Operation  string      `json:"operation"`
	TenantID   *uuid.UUID  `json:"tenantId,omitempty"`
	ObjectKind string      `json:"objectKind,omitempty"`
	ObjectID   string      `json:"objectId,omitempty"`
	Detail     string      `json:"detail,omitempty"` // what exactly, such as a command line
	ActorKind  string      `json:"actorKind"`
	ActorID    uuid.UUID   `json:"actorId"`
	ActorName  string      `json:"actorName"`
	KeyID      *uuid.UUID  `json:"keyId,omitempty"`
	Address    *netip.Addr `json:"address,omitempty"`
	RequestID  string      `json:"requestId"`
}
