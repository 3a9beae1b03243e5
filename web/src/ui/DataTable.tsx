// SPDX-License-Identifier: Apache-2.0

import { useVirtualizer } from "@tanstack/react-virtual";
import { useRef, useState } from "react";
import styles from "./DataTable.module.css";
import { ariaSort, type Column, ColumnName, cellClass, type Sort, useSorted } from "./tableColumns";

interface Props<T> {
  label: string;
  rows: T[];
  columns: Column<T>[];
  sorts?: Column<T>[]; // by which rows can be sorted, if there are more than are shown
  id: (row: T) => string;
  selected?: Set<string>;
  select?: (ids: Set<string>) => void;
  nameOf?: (row: T) => string;
  sortedBy?: Sort; // at first
  sort?: Sort; // if somebody else keeps the order
  onSort?: (by: Sort) => void;
}

const ROW = 44; // height of a row with one line, in pixels; rows with more are measured

/** DataTable is for lists without a limit. It renders only the visible rows, so that ten thousand rows are as fast as ten. Rows are added and removed while scrolling, so the table consists of blocks with table roles. Text that does not fit wraps: nothing is cut off. On narrow screens, each cell is a line with the name of its column. */
export function DataTable<T>({
  label,
  rows,
  columns,
  id,
  sorts = columns,
  selected,
  select,
  nameOf,
  sortedBy,
  sort: given,
  onSort,
}: Props<T>) {
  const [own, setOwn] = useState(sortedBy);
  const sort = given ?? own;
  const setSort = onSort ?? setOwn;
  const scroller = useRef<HTMLDivElement>(null);
  const sorted = useSorted(rows, sorts, sort);
  const virtual = useVirtualizer({ count: sorted.length, getScrollElement: () => scroller.current, estimateSize: () => ROW, overscan: 12 });
  const template = [select && "36px", ...columns.map((c) => c.width ?? "minmax(0, 1fr)")].filter(Boolean).join(" ");
  const style = { "--columns": template } as React.CSSProperties;
  const all = select && rows.length > 0 && rows.every((r) => selected?.has(id(r)));
  const toggleRow = (key: string) => {
    const next = new Set(selected);
    if (!next.delete(key)) next.add(key);
    select?.(next);
  };
  return (
    <div
      className={select ? `${styles.table} ${styles.withChoice}` : styles.table}
      role="table"
      aria-label={label}
      aria-rowcount={sorted.length + 1}
      style={style}
    >
      <div role="rowgroup">
        <div className={`${styles.row} ${styles.head}`} role="row" aria-rowindex={1}>
          {select && (
            <div role="columnheader">
              <input
                type="checkbox"
                aria-label={`Select all ${label}`}
                checked={all ?? false}
                onChange={() => select(all ? new Set() : new Set(rows.map(id)))}
              />
            </div>
          )}
          {columns.map((c) => (
            <div key={c.name} role="columnheader" className={cellClass(c)} aria-sort={ariaSort(c, sort)}>
              <ColumnName column={c} sort={sort} onSort={setSort} />
            </div>
          ))}
        </div>
      </div>
      <div className={styles.scroll} role="rowgroup" ref={scroller} tabIndex={0} aria-label={`${label}, rows`}>
        <div className={styles.rows} style={{ height: virtual.getTotalSize() }} role="presentation">
          {virtual.getVirtualItems().map((item) => {
            const row = sorted[item.index];
            if (row === undefined) return null;
            const key = id(row);
            return (
              <div
                key={key}
                className={styles.row}
                role="row"
                aria-rowindex={item.index + 2}
                data-index={item.index}
                ref={virtual.measureElement}
                style={{ transform: `translateY(${item.start}px)`, minHeight: ROW }}
              >
                {select && (
                  <div role="cell" className={styles.choice}>
                    <input
                      type="checkbox"
                      aria-label={`Select ${nameOf?.(row) ?? key}`}
                      checked={selected?.has(key) ?? false}
                      onChange={() => toggleRow(key)}
                    />
                  </div>
                )}
                {columns.map((c) => (
                  <div key={c.name} role="cell" data-column={c.name} className={cellClass(c)}>
                    {c.cell(row)}
                  </div>
                ))}
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}
