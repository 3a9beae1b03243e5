// SPDX-License-Identifier: Apache-2.0

package nodeagent

import (
	"context"
	"net/http"

	"husk"
	"husk/guest"
)

// freeze freezes the file system of a volume in the guest of a pod, and thaw ends that. The guest ends it by itself after guest.FreezeLimit.
func (a *Agent) freeze(w http.ResponseWriter, r *http.Request) {
	a.callVolume(w, r, (*guest.Client).Freeze)
}

func (a *Agent) thaw(w http.ResponseWriter, r *http.Request) {
	a.callVolume(w, r, (*guest.Client).Thaw)
}

func (a *Agent) callVolume(w http.ResponseWriter, r *http.Request, call func(c *guest.Client, ctx context.Context, serial string) error) {
	worker := a.workerOf(r)
	if worker == nil {
		problem(w, husk.NotFound("pod on this node"), http.StatusNotFound)
		return
	}
	c, err := worker.client()
	if err == nil {
		err = call(c, r.Context(), r.URL.Query().Get("serial"))
	}
	if err != nil {
		a.refuseSession(w, worker, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}
