// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import { client, type Pod } from "../../api/client";
import { whyNot } from "../../lib/allowed";
import { Button } from "../../ui/Button";
import { FormDialog } from "../../ui/Dialog";
import { Problem } from "../../ui/Problem";
import { toast } from "../../ui/toasts";

type Verb = "start" | "stop" | "restart";

const VERBS: Verb[] = ["start", "restart", "stop"];

const NAMES: Record<Verb, string> = { start: "Start", stop: "Stop", restart: "Restart" };

const send = (pod: Pod, verb: Verb) => {
  const params = { path: { podId: pod.id } };
  switch (verb) {
    case "start":
      return client.POST("/v1/pods/{podId}/start", { params });
    case "stop":
      return client.POST("/v1/pods/{podId}/stop", { params });
    case "restart":
      return client.POST("/v1/pods/{podId}/restart", { params });
  }
};

/** Lifecycle has the buttons that stop and start a pod. Stopping ends its containers, so it is confirmed first. A pod with which nothing can be done now has one that says why. */
export function Lifecycle({ pod }: { pod: Pod }) {
  const [asked, setAsked] = useState<Verb>();
  const [error, setError] = useState<unknown>();
  const run = async (verb: Verb) => {
    await send(pod, verb);
    toast(verb === "start" ? `Pod ${pod.name} is starting.` : `Pod ${pod.name} is stopping.`);
  };
  const why = (verb: Verb) => (pod.deletionRequestedAt ? "The pod is being deleted." : whyNot("pod", verb, pod.status.phase));
  const possible = VERBS.filter((verb) => !why(verb));
  const verbs: Verb[] = possible.length > 0 ? possible : ["stop"];
  return (
    <>
      {verbs.map((verb) => (
        <Button
          key={verb}
          unless={why(verb)}
          onClick={() => {
            setError(undefined);
            if (verb === "start") run(verb).catch(setError);
            else setAsked(verb);
          }}
        >
          {NAMES[verb]}
        </Button>
      ))}
      {error !== undefined && <Problem error={error} />}
      {asked && (
        <FormDialog
          title={`${NAMES[asked]} pod ${pod.name}?`}
          submit={NAMES[asked]}
          danger
          close={() => setAsked(undefined)}
          run={() => run(asked)}
        >
          <p>
            Its containers end within their grace period, and what they wrote outside of volumes is lost.
            {asked === "stop"
              ? " The pod keeps its name, its address and its volumes."
              : " Then the pod starts again, perhaps on another node."}
          </p>
        </FormDialog>
      )}
    </>
  );
}
