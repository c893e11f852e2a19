// node render.mjs PROMETHEUS_URL SECONDS DASHBOARDS PICTURES: bundles the page once, then has Chromium draw each dashboard.
// render.sh copies it to where its packages are.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const [prometheus, range, folder, output] = process.argv.slice(2);
mkdirSync(output, { recursive: true });

// Some dependencies name modules of Node's that no panel calls.
const stubs = {
  name: 'stubs',
  setup(bundle) {
    bundle.onResolve({ filter: /^(stream|tty|util|fs|path|crypto|os)$/ }, ({ path }) => ({ path, namespace: 'stub' }));
    bundle.onLoad({ filter: /.*/, namespace: 'stub' }, () => ({ contents: 'module.exports = {}' }));
  },
};
// The CommonJS builds: esbuild takes default imports of .mjs files as Node does, which is not what these packages expect.
const commonjs = {
  name: 'commonjs',
  setup(bundle) {
    bundle.onResolve({ filter: /^@grafana\/(data|schema|ui)(\/unstable)?$/ }, ({ path }) => {
      const [, name, part] = path.split('/');
      return { path: join(here, 'node_modules/@grafana', name, 'dist/cjs', `${part ?? 'index'}.cjs`) };
    });
  },
};
await build({
  entryPoints: [join(here, 'dashboard.jsx')], outfile: join(here, 'dashboard.js'), bundle: true, format: 'esm', platform: 'browser',
  jsx: 'automatic', logLevel: 'error', plugins: [stubs, commonjs],
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.woff2': 'dataurl', '.woff': 'dataurl', '.ttf': 'dataurl' },
});
const style = readFileSync(join(here, 'dashboard.css'), 'utf8');
const script = readFileSync(join(here, 'dashboard.js'), 'utf8').replaceAll('</script', '<\\/script');
for (const file of readdirSync(folder).sort()) {
  const dashboard = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  const name = file.replace('awf-aws-', '').replace('.json', '');
  const page = join(here, `${name}.html`);
  writeFileSync(page, `<!doctype html><meta charset="utf-8"><style>${style}</style><body style="margin:0"><div id="root"></div><script>
    window.DASHBOARD = ${JSON.stringify(dashboard).replaceAll('</', '<\\/')};
    window.PROMETHEUS = ${JSON.stringify(prometheus)}; window.RANGE = ${Number(range)};
    window.onerror = window.onunhandledrejection = (e) => document.body.append(String(e.reason?.stack ?? e));
  </script><script type="module">${script}</script>`);
  const height = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * 36 + 80;
  execFileSync('chromium', [
    '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--allow-file-access-from-files', '--lang=en-US', '--force-device-scale-factor=0.9',
    '--virtual-time-budget=20000', `--window-size=1608,${height}`, `--screenshot=${join(output, `${name}.png`)}`, `file://${page}`,
  ], { stdio: ['ignore', 'ignore', 'ignore'] });
  console.log(join(output, `${name}.png`));
}
