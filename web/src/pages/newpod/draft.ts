// SPDX-License-Identifier: Apache-2.0

// Keeps the pod that is being edited while the user is signed out or the page is reloaded.
import type { PodCreate } from "../../api/client";
import { keyOf, type Session } from "../../api/session";

const STORAGE = "husk.draft.pod";

interface Draft {
  owner: string; // the login session
  from: string; // what the form began with
  pod: PodCreate;
}

/** keptDraft returns the draft of a form that began with the same pod. */
export function keptDraft(session: Session, first: PodCreate): PodCreate | undefined {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORAGE) ?? "") as Draft;
    if (kept.owner === keyOf(session) && kept.from === JSON.stringify(first)) return kept.pod;
  } catch {
    // there is none
  }
  return undefined;
}

export function keepDraft(session: Session, first: PodCreate, pod: PodCreate) {
  const from = JSON.stringify(first);
  if (from === JSON.stringify(pod)) return;
  sessionStorage.setItem(STORAGE, JSON.stringify({ owner: keyOf(session), from, pod } satisfies Draft));
}

export const forgetDraft = () => sessionStorage.removeItem(STORAGE);
