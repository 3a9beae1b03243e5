// SPDX-License-Identifier: Apache-2.0

import { useState } from "react";
import styles from "./DataTable.module.css";
import { ariaSort, type Column, ColumnName, cellClass, type Sort, useSorted } from "./tableColumns";

interface Props<T> {
  label: string;
  rows: T[];
  columns: Column<T>[];
  id: (row: T) => string;
  sortedBy?: Sort; // at first
}

/** ShortTable is a native table for lists that the API limits. It looks like a DataTable. Browsers forget the roles of tables that are laid out as grids, so it repeats them. */
export function ShortTable<T>({ label, rows, columns, id, sortedBy }: Props<T>) {
  const [sort, setSort] = useState(sortedBy);
  const sorted = useSorted(rows, columns, sort);
  const style = { "--columns": columns.map((c) => c.width ?? "minmax(0, 1fr)").join(" ") } as React.CSSProperties;
  return (
    <table className={styles.table} role="table" aria-label={label} style={style}>
      <thead role="rowgroup">
        <tr className={`${styles.row} ${styles.head}`} role="row">
          {columns.map((c) => (
            <th key={c.name} role="columnheader" scope="col" className={cellClass(c)} aria-sort={ariaSort(c, sort)}>
              <ColumnName column={c} sort={sort} onSort={setSort} />
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup" className={styles.short}>
        {sorted.map((row) => (
          <tr key={id(row)} className={styles.row} role="row">
            {columns.map((c) => (
              <td key={c.name} role="cell" data-column={c.name} className={cellClass(c)}>
                {c.cell(row)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
