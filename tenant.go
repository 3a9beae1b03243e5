// SPDX-License-Identifier: Apache-2.0

package husk

import (
	"time"

	"github.com/google/uuid"
)

// Tenant is the party that is isolated, limited and billed.
type Tenant struct {
	ID          uuid.UUID `json:"id"`
	Name        string    `json:"name"`
	Quota       Quota     `json:"quota"`
	NetworkCIDR string    `json:"networkCidr"`
	CreatedAt   time.Time `json:"createdAt"`
}
