// SPDX-License-Identifier: Apache-2.0

import { useNavigate, useSearch } from "@tanstack/react-router";
import { type ReactNode, useMemo } from "react";
import { plural } from "../lib/format";
import { type Choice, readChoice } from "../lib/listSearch";
import { Button } from "./Button";
import { DataTable } from "./DataTable";
import { Empty } from "./Empty";
import { Filters } from "./Filters";
import styles from "./ListPage.module.css";
import { Loading } from "./Loading";
import { PageHead } from "./PageHead";
import { Problem } from "./Problem";
import type { Column } from "./tableColumns";

/** List is what a page lists: a live list of the API, or one that is read now and then. */
export interface List<T> {
  items: T[];
  synced: boolean; // every existing item has arrived
  broken?: unknown; // why the list is not up to date
}

interface Props<T> {
  title: string;
  one: string; // such as "volume"
  many?: string;
  list: List<T>;
  columns: Column<T>[];
  sortedBy: [column: string, down: boolean];
  id: (row: T) => string;
  nameOf?: (row: T) => string;
  search: string; // what the search field looks for, such as "Name or ID"
  matches: (row: T, text: string) => boolean; // the text is in lower case, and not empty
  keep?: (row: T) => boolean; // another filter is set, and this is what it keeps
  filters?: ReactNode | ((chosen: T[]) => ReactNode); // chosen are the selected rows that are shown
  create?: ReactNode;
  selected?: Set<string>;
  select?: (ids: Set<string>) => void;
  none?: string; // the heading of a list without objects
  empty: ReactNode; // what the objects are good for, for somebody who has none
  children?: ReactNode; // below the list
}

/** ListPage is a page with one list. The text to look for, the order and the hidden columns are in the address of the page. */
export function ListPage<T>(p: Props<T>) {
  const { list, columns, matches, keep } = p;
  const choice = readChoice(useSearch({ strict: false }));
  const navigate = useNavigate();
  const choose = (to: Partial<Choice>) =>
    void navigate({ to: ".", search: (s: Record<string, unknown>) => ({ ...s, ...to }), replace: true } as never);
  const { q, hide } = choice;
  // biome-ignore lint/correctness/useExhaustiveDependencies: matches is the same function each time
  const shown = useMemo(() => {
    const text = (q ?? "").toLowerCase();
    return list.items.filter((row) => (!text || matches(row, text)) && (!keep || keep(row)));
  }, [list.items, q, keep]);
  const hidden = hide?.split(",") ?? [];
  const visible = useMemo(() => columns.filter((c, i) => i === 0 || !hide?.split(",").includes(c.name)), [columns, hide]);
  const sort = choice.sort ? ([choice.sort.replace(/^-/, ""), choice.sort.startsWith("-")] as [string, boolean]) : p.sortedBy;
  const filtered = !!q || !!keep;
  const all = plural(list.items.length, p.one, p.many);
  return (
    <>
      <PageHead title={p.title} lead={list.synced ? (filtered ? `${shown.length} of ${all}` : all) : undefined}>
        {p.create}
      </PageHead>
      {!!list.broken && <Problem error={list.broken} title="This list is not up to date." />}
      {!list.synced && !list.broken && <Loading what={`Loading ${p.title.toLowerCase()}`} />}
      {list.synced && list.items.length === 0 && (
        <Empty title={p.none ?? `No ${p.title.toLowerCase()} yet`} action={p.create}>
          {p.empty}
        </Empty>
      )}
      {list.items.length > 0 && (
        <>
          <Filters>
            <input
              type="search"
              aria-label={`Filter by ${p.search[0]?.toLowerCase()}${p.search.slice(1)}`}
              placeholder={p.search}
              value={q ?? ""}
              onChange={(e) => choose({ q: e.target.value || undefined })}
            />
            {typeof p.filters === "function" ? p.filters(shown.filter((row) => p.selected?.has(p.id(row)))) : p.filters}
            {filtered && (
              <Button look="quiet" small onClick={() => void navigate({ to: ".", search: { sort: choice.sort, hide } } as never)}>
                Clear
              </Button>
            )}
            <details className={styles.columns}>
              <summary>Columns</summary>
              <fieldset>
                <legend>Columns of the list</legend>
                {columns.slice(1).map((c) => (
                  <label key={c.name}>
                    <input
                      type="checkbox"
                      checked={!hidden.includes(c.name)}
                      onChange={(e) =>
                        choose({
                          hide: (e.target.checked ? hidden.filter((h) => h !== c.name) : [...hidden, c.name]).join(",") || undefined,
                        })
                      }
                    />{" "}
                    {c.name}
                  </label>
                ))}
              </fieldset>
            </details>
          </Filters>
          {shown.length === 0 ? (
            <Empty title={`No ${p.title.toLowerCase()} match`} />
          ) : (
            <DataTable
              label={p.title}
              rows={shown}
              columns={visible}
              sorts={columns}
              id={p.id}
              nameOf={p.nameOf}
              sort={sort}
              onSort={([column, down]) => choose({ sort: (down ? "-" : "") + column })}
              selected={p.selected}
              select={p.select}
            />
          )}
        </>
      )}
      {p.children}
    </>
  );
}
