// SPDX-License-Identifier: Apache-2.0

// Package web is the dashboard. `npm run build` builds the React sources in src/ into dist/, which this package embeds. huskd serves it under /ui/.
// The dashboard is an ordinary client of the API: it uses the token of the signed-in user and has no private endpoints.
//
// src/api has the client of the API (the types are generated from openapi.yaml), src/ui the components and src/pages one file for each page.
// browser/ tests the dashboard in a real browser against a real installation.
package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files are the files of the built dashboard. Where it was not built there is no index.html among them.
func Files() (fs.FS, error) { return fs.Sub(dist, "dist") }
