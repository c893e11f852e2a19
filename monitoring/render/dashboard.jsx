// Draws one dashboard from a live Prometheus with Grafana's own panels (@grafana/ui). The page holds the dashboard's JSON in
// window.DASHBOARD and where Prometheus is in window.PROMETHEUS.
//
// Not covered: Grafana's import, its variables' drop-downs, its panel plugins. What is covered: units, thresholds, colours,
// legends, stacking, as Grafana itself computes them from the JSON.
import 'uplot/dist/uPlot.min.css';
import { createRoot } from 'react-dom/client';
import {
  FieldType, ThemeContext, applyFieldOverrides, createTheme, dateTime, standardFieldConfigEditorRegistry, toDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, Table, TimeSeries } from '@grafana/ui';

const CELL = { width: 66, height: 36, gap: 8 };
const theme = createTheme({ colors: { mode: 'dark' } });
const end = Math.floor(Date.now() / 1000);
const range = Number(window.RANGE);
const begin = end - range;
const step = Math.max(2, Math.floor(range / 120));

// Grafana's own list is part of its application, not of its packages: these are the fields that the dashboards use.
const FIELDS = ['color', 'unit', 'thresholds', 'min', 'max', 'noValue', 'decimals', 'displayName'];
standardFieldConfigEditorRegistry.setInit(() =>
  FIELDS.map((id) => ({ id, path: id, name: id, process: (value) => value, shouldApply: () => true })));

/// Grafana's variables, for a scrape each second.
function filledIn(expression) {
  return expression
    .replaceAll('$__rate_interval', '10s').replaceAll('$__interval', `${step}s`).replaceAll('$__range', `${range}s`)
    .replaceAll('$cluster', '.*').replaceAll('$namespace', '.+').replaceAll('$job', '.+').replaceAll('$instance', '.+');
}

async function ask(target) {
  const query = new URLSearchParams({ query: filledIn(target.expr) });
  if (target.range) {
    query.set('start', begin);
    query.set('end', end);
    query.set('step', step);
  } else {
    query.set('time', end);
  }
  const answer = await fetch(`${window.PROMETHEUS}/api/v1/query${target.range ? '_range' : ''}?${query}`);
  const body = await answer.json();
  if (body.status !== 'success') throw new Error(`${target.expr}: ${body.error}`);
  return body.data.result;
}

const legend = (target, labels) => target.legendFormat.replace(/{{(\w+)}}/g, (_, name) => labels[name] ?? '');
const number = (text) => (text === 'NaN' ? null : Number(text));

/// One frame for each series; a table is one frame with a column for each label.
function frames(panel, answers) {
  if (panel.type === 'table') {
    const rows = answers.flatMap((answer) => answer.result);
    const names = [...new Set(rows.flatMap((row) => Object.keys(row.metric)))].filter((name) => name !== '__name__');
    const columns = names.map((name) => ({ name, type: FieldType.string, values: rows.map((row) => row.metric[name]), config: {} }));
    columns.push({ name: 'Value', type: FieldType.number, values: rows.map((row) => number(row.value[1])), config: {} });
    return [toDataFrame({ fields: columns })];
  }
  return answers.flatMap(({ target, result }) =>
    result.map((series) => {
      const samples = new Map((series.values ?? [series.value]).map(([time, value]) => [time, number(value)]));
      // A gap is a gap: a time without a sample has no value.
      const times = target.range ? Array.from({ length: Math.floor(range / step) + 1 }, (_, i) => begin + i * step) : [...samples.keys()];
      return toDataFrame({
        refId: target.refId,
        fields: [
          { name: 'Time', type: FieldType.time, values: times.map((time) => time * 1000), config: {} },
          {
            name: 'Value', type: FieldType.number, labels: series.metric, values: times.map((time) => samples.get(time) ?? null),
            config: { displayNameFromDS: legend(target, series.metric) },
          },
        ],
      });
    }));
}

function withFieldConfig(panel, data) {
  if (panel.type === 'row') return data;
  const shown = applyFieldOverrides({
    data, theme, fieldConfig: panel.fieldConfig, replaceVariables: (text) => text, timeZone: 'utc',
  });
  const { custom } = panel.fieldConfig.defaults;
  shown.forEach((frame) => frame.fields.forEach((field) => { if (custom) field.config.custom = { ...custom }; }));
  return shown;
}

function Stat({ panel, data, width, height }) {
  const field = data[0]?.fields.find((one) => one.type === FieldType.number);
  const last = field?.values.findLast((value) => value !== null);
  const value = field ? field.display(last) : { text: panel.fieldConfig.defaults.noValue ?? 'No data', numeric: NaN, color: '#9fa7b3' };
  const { colorMode, graphMode, justifyMode, textMode } = panel.options;
  return <BigValue {...{ value, width, height, theme, colorMode, graphMode, justifyMode, textMode }} />;
}

function Body({ panel, data, width, height }) {
  if (panel.type === 'stat') return <Stat {...{ panel, data, width, height }} />;
  if (!data.length) return <div style={{ color: '#ff5286', padding: 20 }}>No data</div>;
  if (panel.type === 'table') return <Table data={data[0]} width={width} height={height} />;
  const timeRange = { from: dateTime(begin * 1000), to: dateTime(end * 1000), raw: { from: 'now-1h', to: 'now' } };
  return (
    <TimeSeries frames={data} timeRange={timeRange} timeZone="utc" width={width} height={height} legend={panel.options.legend}
      options={{ ...panel.options, tooltip: undefined }} />
  );
}

function Panel({ panel, data }) {
  const { x, y, w, h } = panel.gridPos;
  const box = { position: 'absolute', left: x * CELL.width, top: y * CELL.height, width: w * CELL.width - CELL.gap, height: h * CELL.height - CELL.gap };
  if (panel.type === 'row') return <h4 style={{ ...box, margin: 0, padding: '6px 4px' }}>{panel.title}</h4>;
  return (
    <div style={box}>
      <PanelChrome title={panel.title} description={panel.description} width={box.width} height={box.height}>
        {(width, height) => <Body {...{ panel, data, width, height }} />}
      </PanelChrome>
    </div>
  );
}

function Dashboard({ dashboard, answers }) {
  const height = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h)) * CELL.height;
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ padding: 12, background: theme.colors.background.canvas }}>
        <h2 style={{ margin: '0 0 8px' }}>{dashboard.title}</h2>
        <div style={{ position: 'relative', height }}>
          {dashboard.panels.map((panel, i) => <Panel key={panel.id} panel={panel} data={answers[i]} />)}
        </div>
      </div>
    </ThemeContext.Provider>
  );
}

const dashboard = window.DASHBOARD;
const answers = await Promise.all(dashboard.panels.map(async (panel) => {
  const results = await Promise.all((panel.targets ?? []).map(async (target) => ({ target, result: await ask(target) })));
  return withFieldConfig(panel, frames(panel, results));
}));
createRoot(document.getElementById('root')).render(<Dashboard dashboard={dashboard} answers={answers} />);
