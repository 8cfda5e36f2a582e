// The page of a run that is going: asks for its state once a second and shows it. Figures come as SVG from the program;
// all else becomes text.

const $ = id => document.getElementById(id);
let epochs = 0, failures = 0;

function make(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...properties });
}

function duration(seconds) {
  const s = Math.round(seconds), h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return h ? `${h} h ${m} min` : m ? `${m} min ${s % 60} s` : `${s} s`;
}

function row(stage) {
  const tr = document.createElement('tr'), done = stage.done >= stage.total;
  tr.append(make('th', stage.name, { scope: 'row' }));
  for (const text of [stage.done.toLocaleString('en'), stage.total.toLocaleString('en'),
    stage.rate ? `${Number(stage.rate.toPrecision(3)).toLocaleString('en')} ${stage.unit}/s` : '', done ? 'done' : stage.rate ? duration(stage.left) : '']) tr.append(make('td', text, { className: 'n' }));
  const bar = make('span', '', { className: 'bar' }), share = document.createElement('span');
  share.style.width = `${100 * Math.min(1, stage.done / Math.max(1, stage.total))}%`;
  bar.append(share);
  const cell = document.createElement('td');
  cell.append(bar);
  tr.append(cell);
  return tr;
}

function tell(text) {
  if ($('state').textContent !== text) $('state').textContent = text; // a screen reader hears changes only
}

function show(state) {
  $('stages').replaceChildren(...(state.stages ?? []).map(row));
  if (state.figures) {
    epochs = state.epochs;
    for (const [id, svg] of Object.entries(state.figures)) $(id).innerHTML = svg;
    $('figures').hidden = false;
    $('none').hidden = true;
  }
  const warnings = state.warnings ?? [];
  if (warnings.length !== $('notes').childElementCount) {
    $('notes').replaceChildren(...warnings.map(text => make('li', text)));
  }
  $('calm').hidden = warnings.length > 0;
  if (!state.ended) tell('Running.');
  else if (state.error) tell(`Ended: ${state.error}`);
  else tell('Finished.');
  $('end').hidden = !state.report;
  if (state.report) location.replace('report.html');
}

async function follow() {
  try {
    const response = await fetch(`state?epochs=${epochs}`);
    if (!response.ok) throw new Error(response.statusText);
    const state = await response.json();
    failures = 0;
    show(state);
    if (state.ended) return;
  } catch {
    if (++failures > 3) { // the program has ended
      tell('The run has ended, or its program has; the page is no longer kept up to date.');
      return;
    }
  }
  setTimeout(follow, 1000);
}
follow();
