// What the page does besides showing: its headings sort tables, its marks say at once what they are, the arrow keys
// move between them, and a class can be looked for on the map. Without scripts all of it can be read as it is.

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

// The tip takes the place of the browser's own, which comes late and not at all by keyboard.
const tip = document.createElement('div');
tip.className = 'tip';
tip.hidden = true;
tip.setAttribute('aria-hidden', 'true'); // the mark has the text as its name
document.body.append(tip);

function point(spot) {
  const title = spot.querySelector('title');
  if (title) {
    spot.setAttribute('aria-label', title.textContent);
    title.remove();
  }
  tip.textContent = spot.getAttribute('aria-label');
  tip.hidden = false;
  const mark = spot.lastElementChild.getBoundingClientRect(), box = tip.getBoundingClientRect();
  const left = Math.min(Math.max(mark.left + mark.width / 2 - box.width / 2, 4), innerWidth - box.width - 4);
  const above = Math.max(mark.top, 0) - box.height - 8;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(above > 0 ? above : Math.min(mark.bottom + 8, innerHeight - box.height - 4)) + scrollY}px`;
}

const spotOf = event => event.target.closest?.('.spot');
document.addEventListener('pointerover', event => {
  const spot = spotOf(event);
  if (spot) point(spot); else tip.hidden = true;
});
document.addEventListener('focusin', event => {
  const spot = spotOf(event);
  if (spot) point(spot); else tip.hidden = true;
});
document.addEventListener('focusout', () => { tip.hidden = true; });
document.addEventListener('scroll', () => {
  const spot = document.querySelector('.spot:focus') ?? document.querySelector('.spot:hover');
  if (!tip.hidden && spot) point(spot); else tip.hidden = true;
}, { capture: true, passive: true });

document.addEventListener('keydown', event => {
  const spot = spotOf(event);
  if (event.key === 'Escape') tip.hidden = true;
  if (!spot || event.ctrlKey || event.metaKey || event.altKey) return;
  const spots = [...spot.closest('svg').querySelectorAll('.spot')], at = spots.indexOf(spot);
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, PageDown: at + 10, PageUp: at - 10, Home: 0, End: spots.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const next = spots[Math.min(Math.max(to, 0), spots.length - 1)];
  spot.setAttribute('tabindex', '-1');
  next.setAttribute('tabindex', '0');
  next.focus();
});

// A class that is gone to is opened, in browsers that do not do so by themselves.
function reveal() {
  const details = document.getElementById(location.hash.slice(1))?.closest('details');
  if (details && !details.open) {
    details.open = true;
    details.scrollIntoView();
  }
}
addEventListener('hashchange', reveal);
reveal();

for (const map of document.querySelectorAll('[data-classes]')) {
  const label = document.createElement('label'), choice = document.createElement('select');
  label.append('Show one class: ', choice);
  choice.add(new Option('all', ''));
  for (const id of map.dataset.classes.split(' ')) {
    const name = document.getElementById(id)?.closest('details')?.querySelector('summary bdi')?.textContent;
    if (name) choice.add(new Option(name, `#${id}`));
  }
  choice.addEventListener('change', () => {
    map.classList.toggle('one', choice.value !== '');
    for (const spot of map.querySelectorAll('.spot')) spot.classList.toggle('lit', spot.getAttribute('href') === choice.value);
  });
  map.before(label);
}
