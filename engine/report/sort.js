// Makes the headings of a table sort it. Without scripts the table is as it is.
for (const table of document.querySelectorAll('table[data-sortable]')) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener('click', () => {
      const descending = head.ariaSort === 'ascending';
      heads.forEach(h => { h.ariaSort = null; });
      head.ariaSort = descending ? 'descending' : 'ascending';
      const text = row => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const missing = x => x === '–' || x === '';
      const order = (a, b) => {
        const x = text(a), y = text(b);
        if (missing(x) || missing(y)) return missing(x) - missing(y);
        const numbers = Number.isFinite(Number(x)) && Number.isFinite(Number(y));
        return (descending ? -1 : 1) * (numbers ? x - y : x.localeCompare(y, undefined, { numeric: true }));
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}
