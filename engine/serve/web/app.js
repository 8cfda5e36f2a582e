// The page of vitft serve: sends each photo by itself, in order, a few at a time, and shows what the
// model says of it. What the server or a file says becomes text, never HTML, but for the model card,
// which the server made safe. Addresses are relative, so the page also works behind a path.

const most = 5;        // classes shown of a photo
const atOnce = 4;      // requests at a time
const tries = 30;      // of a photo while the server is busy
const listed = 2000;   // labels in the list at a time

const $ = id => document.getElementById(id);
const cards = $('cards');
let models = [], model = null, labels = [];
let items = [];        // the photos, in order: {name, file, url, state, answer, error, …}
let running = 0;

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function count(n, noun) { return `${n.toLocaleString('en')} ${noun}${n === 1 ? '' : noun.endsWith('s') ? 'es' : 's'}`; }

// --- the server

let token = sessionStorage.getItem('vitft-token') ?? '';
let asked = null;      // the promise of a token, while the reader is asked for one

// call sends a request with the token; refused, it waits for another token and tries again.
async function call(path, options = {}) {
  for (;;) {
    const used = token;
    const response = await fetch(path, { ...options, headers: { ...options.headers, ...(used && { Authorization: `Bearer ${used}` }) } });
    if (response.status !== 401) {
      $('login').hidden ||= used === token;
      return response;
    }
    if (used === token) await ask(used);
  }
}

function ask(refused) {
  asked ??= new Promise(resolve => {
    $('state').hidden = true;
    $('login').hidden = false;
    $('refused').textContent = refused && 'The server refuses this token.';
    $('token').focus();
    $('token').select();
    $('login').onsubmit = event => {
      event.preventDefault();
      token = $('token').value;
      sessionStorage.setItem('vitft-token', token);
      $('refused').textContent = '';
      asked = null;
      resolve();
    };
  });
  return asked;
}

// get gives what a path has, or throws what the server says.
async function get(path, as = 'json') {
  const response = await call(path);
  if (!response.ok) throw new Error(await fault(response));
  return response[as]();
}

async function fault(response) {
  const body = await response.json().catch(() => null);
  return body?.error ?? `the server answered ${response.status} ${response.statusText}`;
}

// --- the model

async function load() {
  $('reload').hidden = true;
  $('state').hidden = false;
  $('state').textContent = 'Loading…';
  try {
    ({ models } = await get('v1/models'));
    $('models').replaceChildren(...models.map(m => new Option(m.name)));
    $('choice').hidden = models.length < 2;
    await choose(models[0].name);
    $('state').hidden = true;
    $('model').hidden = document.querySelector('main').hidden = false;
  } catch (error) {
    $('state').textContent = `The models cannot be loaded: ${error.message}`;
    $('reload').hidden = false;
  }
}

// choose takes another model; the photos that are there are classified anew, so that all results are its.
async function choose(name) {
  const path = `v1/models/${encodeURIComponent(name)}`;
  const detail = await get(path);
  const card = detail.card ? await get(`${path}/card`, 'text') : '';
  if (models.length > 1 && $('models').value !== name) return; // yet another was chosen meanwhile
  model = detail;
  labels = detail.labels;
  document.title = `${name} – vitft`;
  $('facts').replaceChildren(...(models.length < 2 ? [make('strong', { textContent: name }), ' · '] : []),
    `${count(model.classes, 'class')} · ${model.width} × ${model.height} pixels · ${model.provider}`);
  $('filter').value = '';
  list();
  $('carded').hidden = !card;
  $('card').innerHTML = card;
  for (const a of $('card').querySelectorAll('a')) Object.assign(a, { target: '_blank', rel: 'noopener noreferrer' });
  const url = new URL('v1/classify', document.baseURI);
  if (!model.default) url.searchParams.set('model', name);
  $('curl').textContent = `curl ${token && '-H "Authorization: Bearer $TOKEN" '}-F image=@photo.jpg '${url.href.replaceAll("'", '%27')}'`;
  document.querySelector('a[href="openapi.json"]').parentElement.hidden = token !== ''; // a link carries no token
  items.forEach(renew);
  pump();
}

function list() {
  const wanted = $('filter').value.trim().toLowerCase();
  const found = labels.filter(label => label.toLowerCase().includes(wanted));
  $('labels').replaceChildren(...found.slice(0, listed).map(label => make('li', { textContent: label })));
  $('matching').textContent = found.length > listed ? `the first ${listed} of ${count(found.length, 'label')}` :
    wanted ? `${found.length} of ${count(labels.length, 'label')}` : count(labels.length, 'label');
}

// --- the photos

function add(files) {
  for (const { file, name } of files) {
    const item = { file, name, url: URL.createObjectURL(file) };
    const photo = make('img', { src: item.url, alt: '', loading: 'lazy', decoding: 'async' });
    photo.onerror = () => photo.replaceWith(make('div', { className: 'none', textContent: 'no preview' }));
    const remove = make('button', { type: 'button', textContent: '×', title: 'Remove' });
    remove.setAttribute('aria-label', `Remove ${name}`);
    remove.onclick = () => { drop(item); items = items.filter(other => other !== item); tell(); };
    item.body = make('div');
    item.card = make('li', {}, photo, make('div', { className: 'name' }, make('span', { textContent: name, title: name }), remove), item.body);
    items.push(item);
    cards.append(item.card);
    renew(item);
  }
  pump();
  tell();
}

function drop(item) {
  item.stop?.abort();
  URL.revokeObjectURL(item.url);
  item.card.remove();
}

// renew puts a photo back in the queue; its place keeps its size.
function renew(item) {
  item.stop?.abort();
  item.restore?.();
  Object.assign(item, { state: 'waiting', answer: null, error: '', again: false });
  item.card.dataset.state = item.state;
  item.body.replaceChildren(make('ol', { className: 'top' },
    ...Array.from({ length: Math.min(most, model?.classes ?? most) }, () => bar('\u00a0', null))));
}

function bar(label, confidence) {
  const share = make('span'), value = confidence === null ? '' : `${(100 * confidence).toFixed(1)}\u00a0%`;
  share.style.width = `${100 * confidence}%`;
  const track = make('span', { className: 'bar' }, share);
  track.setAttribute('aria-hidden', 'true');
  return make('li', {}, make('span', { className: 'label', textContent: label, title: label }), ' ', make('span', { className: 'n', textContent: value }), track);
}

// pump keeps the requests going, in the order of the photos.
function pump() {
  while (model && running < atOnce) {
    const item = items.find(item => item.state === 'waiting');
    if (!item) return;
    running++;
    classify(item).finally(() => { running--; pump(); tell(); });
  }
}

async function classify(item) {
  const { signal } = item.stop = new AbortController();
  item.state = 'sent';
  let answer, error = '', again = false;
  try {
    const path = `v1/classify?model=${encodeURIComponent(model.name)}&top=${most}`;
    const response = await patiently(() => call(path, { method: 'POST', body: item.file, headers: { 'Content-Type': 'application/octet-stream' }, signal }), signal);
    const result = response.ok || response.status === 422 ? (await response.json()).results?.[0] : null;
    if (result?.top) answer = { name: item.name, label: result.label, confidence: result.confidence, top: result.top };
    else error = result?.error ?? await fault(response);
    again = [408, 429].includes(response.status) || response.status >= 500;
  } catch (failure) {
    error = `no answer: ${failure.message}`;
    again = true;
  }
  if (signal.aborted) return; // removed, or to be asked of another model
  Object.assign(item, { state: error ? 'failed' : 'done', answer, error, again });
  item.card.dataset.state = item.state;
  item.body.replaceChildren(...(error ? [make('p', { className: 'bad', textContent: error })] :
    [make('ol', { className: 'top' }, ...answer.top.map(({ label, confidence }) => bar(label, confidence))), why(item)]));
}

// why is the button that shows which patches of a photo speak for its class, in the photo's place.
function why(item) {
  const button = make('button', { type: 'button', className: 'why', textContent: 'Why?' });
  const said = make('span', { className: 'explain' });
  said.setAttribute('role', 'status');
  button.setAttribute('aria-label', `Why ${item.answer.label}? ${item.name}`);
  button.setAttribute('aria-pressed', 'false');
  const { signal } = item.stop;
  let overlay = null, photo = null;
  item.restore = () => {
    if (overlay?.isConnected) overlay.replaceWith(photo);
    button.setAttribute('aria-pressed', 'false');
    said.textContent = '';
  };
  button.onclick = async () => {
    if (button.getAttribute('aria-pressed') === 'true') {
      item.restore();
      return;
    }
    try {
      if (!overlay) {
        button.disabled = true;
        said.textContent = 'looking…';
        const path = `v1/explain?model=${encodeURIComponent(model.name)}&class=${encodeURIComponent(item.answer.label)}`;
        const response = await patiently(() => call(path, { method: 'POST', body: item.file, headers: { 'Content-Type': 'application/octet-stream' }, signal }), signal);
        if (!response.ok) throw new Error(await fault(response));
        const answer = await response.json();
        if (signal.aborted) return;
        overlay = make('img', { src: answer.overlay, alt: `Patches that speak for ${answer.label}, and against it` });
      }
      photo = item.card.firstElementChild;
      photo.replaceWith(overlay);
      button.setAttribute('aria-pressed', 'true');
      said.textContent = 'orange speaks for it, blue against';
    } catch (failure) {
      if (!signal.aborted) said.textContent = failure.message;
    } finally {
      button.disabled = false;
    }
  };
  return make('div', { className: 'row' }, button, said);
}

// patiently asks again, when the server says that it is busy, after the time that it says.
async function patiently(request, signal) {
  for (let n = 1; ; n++) {
    const response = await request();
    if (response.status !== 429 || n === tries) return response;
    const seconds = Math.min(Math.max(Number(response.headers.get('Retry-After')) || 1, 0.1), 30);
    await new Promise(resolve => {
      setTimeout(resolve, 1000 * seconds);
      signal.addEventListener('abort', resolve, { once: true });
    });
  }
}

// tell says how far it is.
function tell() {
  const failed = items.filter(item => item.state === 'failed').length;
  const done = items.filter(item => item.state === 'done').length + failed;
  const text = (done < items.length ? `${done} of ${count(items.length, 'photo')}` : count(items.length, 'photo')) + (failed ? `, ${failed} failed` : '');
  $('results').hidden = items.length === 0;
  $('count').textContent = text;
  $('progress').max = Math.max(items.length, 1);
  $('progress').value = done;
  $('again').hidden = !items.some(item => item.again);
  $('copy').disabled = $('csv').disabled = done === 0;
  if (done === items.length) $('said').textContent = items.length ? `${text}: finished` : ''; // not each one aloud
}

// --- ways in

$('files').onchange = event => {
  add(Array.from(event.target.files, file => ({ file, name: file.name })));
  event.target.value = ''; // so that the same photo can be chosen again
};

document.addEventListener('paste', event => {
  const files = Array.from(event.clipboardData?.files ?? [], file => ({ file, name: file.name }));
  if (files.length) event.preventDefault();
  add(files);
});

const carriesFiles = event => event.dataTransfer?.types.includes('Files');
const dragging = on => document.body.classList.toggle('dragging', on);
document.addEventListener('dragover', event => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = 'copy';
  dragging(true);
});
document.addEventListener('dragleave', event => { if (!event.relatedTarget) dragging(false); });
document.addEventListener('drop', async event => {
  dragging(false);
  if (!carriesFiles(event)) return;
  event.preventDefault();
  const dropped = Array.from(event.dataTransfer.items).filter(item => item.kind === 'file').map(item => {
    const entry = item.webkitGetAsEntry?.();
    return entry?.isDirectory ? entry : item.getAsFile(); // now: after the event they are gone
  });
  for (const it of dropped) add(it instanceof File ? [{ file: it, name: it.name }] : await imagesIn(it));
});

// imagesIn gives the images of a dropped folder and its folders, by name.
async function imagesIn(folder) {
  const found = [], entries = [], reader = folder.createReader();
  for (let some; (some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length;) entries.push(...some);
  entries.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  for (const entry of entries) {
    if (entry.isDirectory) {
      found.push(...await imagesIn(entry));
      continue;
    }
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    if (file.type.startsWith('image/')) found.push({ file, name: entry.fullPath.slice(1) });
  }
  return found;
}

// --- ways out

// csv quotes a field by RFC 4180; one that a spreadsheet would take for a formula gets an apostrophe, as in predictions.csv.
function csv(field) {
  const number = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
  const text = /^'*[=+\-@\t\r]/.test(field) && !number.test(field) ? `'${field}` : `${field}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function table() {
  const places = Array.from({ length: Math.min(most, model.classes) }, (_, i) => i);
  const head = ['name', ...places.flatMap(i => i ? [`label_${i + 1}`, `confidence_${i + 1}`] : ['label', 'confidence']), 'error'];
  const rows = finished().map(item => [item.name, ...places.flatMap(i => [item.answer?.top[i]?.label ?? '', item.answer?.top[i]?.confidence ?? '']), item.error]);
  return [head, ...rows].map(row => row.map(csv).join(',') + '\r\n').join('');
}

function finished() { return items.filter(item => item.state === 'done' || item.state === 'failed'); }

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // over plain HTTP there is no clipboard but this one
    const area = make('textarea', { value: text, className: 'unseen' });
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
    button.focus();
  }
  $('said').textContent = 'Copied';
  const before = button.dataset.text ??= button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = before; }, 1500);
}

$('copy').onclick = event => copy(JSON.stringify({ model: model.name, results: finished().map(item => item.answer ?? { name: item.name, error: item.error }) }, null, 2), event.target);
$('copycurl').onclick = event => copy($('curl').textContent, event.target);
$('csv').onclick = () => {
  const url = URL.createObjectURL(new Blob([table()], { type: 'text/csv' }));
  make('a', { href: url, download: `${model.name}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
};
$('again').onclick = () => { items.filter(item => item.again).forEach(renew); pump(); tell(); };
$('clear').onclick = () => { items.forEach(drop); items = []; tell(); $('files').focus(); };
$('filter').oninput = list;
$('models').onchange = event => choose(event.target.value).catch(error => {
  $('models').value = model.name;
  $('said').textContent = error.message;
});
$('reload').onclick = load;
load();
