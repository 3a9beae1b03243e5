// SPDX-License-Identifier: Apache-2.0

import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { Pod } from "../../api/client";
import { followLog, type LogLine } from "../../api/logs";
import { currentSession } from "../../api/session";
import { count, preciseTime, zone } from "../../lib/format";
import { saveAs } from "../../lib/saveAs";
import { Button } from "../../ui/Button";
import { Check } from "../../ui/Check";
import { Filters } from "../../ui/Filters";
import { Problem } from "../../ui/Problem";
import { toastError } from "../../ui/toasts";
import { ContainerPicker } from "./ContainerPicker";
import styles from "./LogsTab.module.css";

const TAIL = 1_000; // lines in the first request
const LEAVING = 600; // milliseconds in which the user scrolls away from the end
const KEPT = 20_000; // lines kept in memory

/** LogsTab follows a container's log. Lines are shown as plain text, whatever they contain. */
export function LogsTab({ pod, container, pick }: { pod: Pod; container: string; pick: (name: string) => void }) {
  const [lines, setLines] = useState<LogLine[]>([]);
  const [error, setError] = useState<unknown>();
  const [filter, setFilter] = useState("");
  const [times, setTimes] = useState(true);
  const [wrap, setWrap] = useState(false);
  const [following, setFollowing] = useState(true); // scrolls to the newest line
  const scroller = useRef<HTMLDivElement>(null);
  const left = useRef(0);
  const leave = () => {
    left.current = Date.now();
    setFollowing(false);
  };

  useEffect(() => {
    const stop = new AbortController();
    setLines([]);
    setError(undefined);
    let fresh: LogLine[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const add = (line: LogLine) => {
      fresh.push(line);
      timer ??= setTimeout(() => {
        const now = fresh;
        fresh = [];
        timer = undefined;
        setError(undefined);
        setLines((old) => (old.length + now.length > KEPT ? [...old, ...now].slice(-KEPT) : [...old, ...now]));
      }, 50);
    };
    void followLog({
      podId: pod.id,
      container,
      tail: TAIL,
      signal: stop.signal,
      line: add,
      connected: () => setError(undefined),
      failed: setError,
    });
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [pod.id, container]);

  const shown = useMemo(() => (filter ? lines.filter((l) => l.line.toLowerCase().includes(filter.toLowerCase())) : lines), [lines, filter]);
  const virtual = useVirtualizer({ count: shown.length, getScrollElement: () => scroller.current, estimateSize: () => 20, overscan: 30 });
  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines scroll the log while following
  useLayoutEffect(() => {
    if (following && shown.length > 0) virtual.scrollToIndex(shown.length - 1, { align: "end" });
  }, [shown.length, following, wrap]);

  return (
    <>
      <Filters>
        <ContainerPicker {...{ pod, container, pick }} />
        <input
          type="search"
          aria-label="Filter lines"
          placeholder="Filter lines"
          value={filter}
          onChange={(e) => setFilter(e.target.value)}
        />
        <Check label={`Times (${zone()})`} checked={times} onChange={setTimes} />
        <Check label="Wrap" checked={wrap} onChange={setWrap} />
        <Check label="Follow" checked={following} onChange={setFollowing} />
        <Button
          small
          icon="download"
          onClick={() => download(pod, container).catch((err) => toastError("The log was not downloaded", err))}
        >
          Download
        </Button>
        <span className="muted">
          {count(shown.length)} {shown.length === 1 ? "line" : "lines"}
          {lines.length >= KEPT && ", older lines are not shown"}
        </span>
      </Filters>
      <Problem error={error} title="This log is not up to date." />
      <div
        className={wrap ? `${styles.log} ${styles.wrap}` : styles.log}
        ref={scroller}
        role="log"
        aria-label={`Log of ${container}`}
        tabIndex={0}
        onWheel={(e) => e.deltaY < 0 && leave()}
        onTouchMove={leave}
        onKeyDown={(e) => {
          if (["PageUp", "ArrowUp", "Home"].includes(e.key)) leave();
          if (e.key === "End") setFollowing(true);
        }}
        onScroll={(e) => {
          const s = e.currentTarget;
          if (Date.now() - left.current < LEAVING) return; // the log is still where it has just been left
          if (s.scrollHeight - s.scrollTop - s.clientHeight < 4) setFollowing(true);
        }}
      >
        {lines.length === 0 && !error && <p className="muted">No output yet. New lines appear here automatically.</p>}
        <div style={{ height: virtual.getTotalSize(), position: "relative" }}>
          {virtual.getVirtualItems().map((item) => {
            const l = shown[item.index];
            return (
              l && (
                <div
                  key={item.key}
                  data-index={item.index}
                  ref={virtual.measureElement}
                  className={l.stream === "stderr" ? `${styles.line} ${styles.stderr}` : styles.line}
                  style={{ transform: `translateY(${item.start}px)` }}
                >
                  {times && <time dateTime={l.time}>{preciseTime(l.time)} </time>}
                  {missing(l) && <em className="muted">({missing(l)} of output are missing here) </em>}
                  {l.line}
                </div>
              )
            );
          })}
        </div>
      </div>
    </>
  );
}

/** missing says how much output is missing before a line. */
function missing(l: LogLine): string | undefined {
  if (l.droppedBytes) return `${count(l.droppedBytes)} bytes`;
  return l.dropped ? `${count(l.dropped)} lines` : undefined;
}

/** download saves the whole log that is kept. */
async function download(pod: Pod, container: string) {
  const query = new URLSearchParams({ container, timestamps: "true" });
  const answer = await fetch(`/v1/pods/${pod.id}/logs?${query}`, { headers: { Authorization: `Bearer ${currentSession()?.token}` } });
  if (!answer.ok) throw new Error(`the server returned status ${answer.status}`);
  saveAs(await answer.blob(), `${pod.name}-${container}.log`);
}
