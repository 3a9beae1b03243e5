// SPDX-License-Identifier: Apache-2.0

// Package access has the rules about access to a tenant: service accounts with their API keys, users, their logins, and the rule that
// a tenant keeps an owner. Its functions run in a transaction of package store. Those that create something, and Keep, need the lock of the tenant.
package access
