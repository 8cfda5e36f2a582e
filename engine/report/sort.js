// Makes the headings of the table of classes sort it. Without scripts the table is as it is.
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
      const text = row => row.cells[column].textContent.trim();
      const order = (a, b) => {
        const x = text(a), y = text(b);
        if ((x === '–') !== (y === '–')) return x === '–' ? 1 : -1;
        return (descending ? -1 : 1) * x.localeCompare(y, undefined, { numeric: true });
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}
