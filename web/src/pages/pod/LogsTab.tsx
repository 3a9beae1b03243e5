import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { Pod } from "../../api/client";
import { followLog, type LogLine } from "../../api/logs";
import { currentSession } from "../../api/session";
import { count } from "../../lib/format";
import { Button } from "../../ui/Button";
import { Check } from "../../ui/Field";
import { Problem } from "../../ui/Problem";
import { toastError } from "../../ui/toasts";
import { ContainerPicker } from "./ContainerPicker";

const TAIL = 1_000; // lines that are asked for first
const KEPT = 20_000; // lines that are kept

/** LogsTab follows a container's log. Lines are text and nothing else, whatever is in them. */
export function LogsTab({ pod, container, pick }: { pod: Pod; container: string; pick: (name: string) => void }) {
  const [lines, setLines] = useState<LogLine[]>([]);
  const [error, setError] = useState<unknown>();
  const [filter, setFilter] = useState("");
  const [times, setTimes] = useState(true);
  const [wrap, setWrap] = useState(false);
  const [stuck, setStuck] = useState(true); // to the newest line
  const scroller = useRef<HTMLDivElement>(null);

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
    void followLog({ podId: pod.id, container, tail: TAIL, signal: stop.signal, line: add, trouble: setError });
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [pod.id, container]);

  const shown = useMemo(() => (filter ? lines.filter((l) => l.line.toLowerCase().includes(filter.toLowerCase())) : lines), [lines, filter]);
  const virtual = useVirtualizer({ count: shown.length, getScrollElement: () => scroller.current, estimateSize: () => 20, overscan: 30 });
  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines move what is stuck to their end
  useLayoutEffect(() => {
    if (stuck && shown.length > 0) virtual.scrollToIndex(shown.length - 1, { align: "end" });
  }, [shown.length, stuck, wrap]);

  return (
    <>
      <div className="filters">
        <ContainerPicker {...{ pod, container, pick }} />
        <input
          type="search"
          aria-label="Only lines with"
          placeholder="Only lines with…"
          value={filter}
          onChange={(e) => setFilter(e.target.value)}
        />
        <Check label="Times" checked={times} onChange={setTimes} />
        <Check label="Wrap" checked={wrap} onChange={setWrap} />
        <Check label="Follow" checked={stuck} onChange={setStuck} />
        <Button small icon="download" onClick={() => download(pod, container).catch((err) => toastError("The log could not be had", err))}>
          Download
        </Button>
        <span className="muted">
          {count(shown.length)} {shown.length === 1 ? "line" : "lines"}
          {lines.length >= KEPT && ", older ones are left out here"}
        </span>
      </div>
      <Problem error={error} />
      <div
        className={wrap ? "log wrap" : "log"}
        ref={scroller}
        role="log"
        aria-label={`Log of ${container}`}
        tabIndex={0}
        onWheel={(e) => e.deltaY < 0 && setStuck(false)}
        onScroll={(e) => {
          const s = e.currentTarget;
          if (s.scrollHeight - s.scrollTop - s.clientHeight < 4) setStuck(true);
        }}
      >
        {lines.length === 0 && !error && <p className="muted">Nothing has been written yet. New lines appear here by themselves.</p>}
        <div style={{ height: virtual.getTotalSize(), position: "relative" }}>
          {virtual.getVirtualItems().map((item) => {
            const l = shown[item.index];
            return (
              l && (
                <div
                  key={item.key}
                  data-index={item.index}
                  ref={virtual.measureElement}
                  className={`log-line ${l.stream}`}
                  style={{ transform: `translateY(${item.start}px)` }}
                >
                  {times && <time dateTime={l.time}>{l.time.slice(11, 23).padEnd(12, "0")} </time>}
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

/** download saves all that is kept of a log. */
async function download(pod: Pod, container: string) {
  const query = new URLSearchParams({ container, timestamps: "true" });
  const answer = await fetch(`/v1/pods/${pod.id}/logs?${query}`, { headers: { Authorization: `Bearer ${currentSession()?.token}` } });
  if (!answer.ok) throw new Error(`the server answers with status ${answer.status}`);
  saveAs(await answer.blob(), `${pod.name}-${container}.log`);
}

/** saveAs hands a file to the browser. */
export function saveAs(blob: Blob, name: string) {
  const a = document.createElement("a");
  a.href = URL.createObjectURL(blob);
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(a.href), 10_000);
}
