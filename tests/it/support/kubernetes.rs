//! A Kubernetes API over real HTTP. It knows Workflows and WorkflowTaskSets, whatever other objects a test puts there, and who
//! may do what with Argo's kinds; nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, web};
use serde_json::{Value, json};

use super::process::TempDir;

const TOKEN: &str = "a-service-accounts-token";

/// Where the kubeconfig says that the plugin is.
pub const OWN_NAMESPACE: &str = "ml";

/// The workflow of [`super::argo::execute`]'s requests.
pub const NAMESPACE: &str = "argo";
pub const NAME: &str = "sm-pipelines-r58tg";
pub const UID: &str = "27c01e7c-9d93-450f-a001-c64d649aac99";

/// What it is like now.
#[derive(Default)]
pub struct State {
    /// By resource, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    /// Resources that nobody may read.
    forbidden: BTreeSet<&'static str>,
    delay: Duration,
    /// The cache shows nothing of what the store has.
    lags: bool,
    /// `resource name?query` of every request for one of them.
    requests: Vec<String>,
    /// Users and groups that may patch `workflowtasksets/status`.
    task_set_writers: BTreeSet<&'static str>,
    /// (user, verb, resource or resource/subresource): further rights in any namespace.
    rights: BTreeSet<(String, String, String)>,
    /// The authorizers that could not be asked.
    evaluation_error: &'static str,
    /// Every question of who may do what.
    reviews: Vec<Value>,
}

/// The server and a kubeconfig that leads to it.
pub struct FakeKubernetes {
    state: Arc<Mutex<State>>,
    server: ServerHandle,
    directory: TempDir,
}

impl FakeKubernetes {
    /// Starts it with the workflow of the tests' requests, started just now and running.
    pub fn start() -> Self {
        let whole = State { task_set_writers: ["system:serviceaccount:argo:argo"].into(), ..State::default() };
        let state = Arc::new(Mutex::new(whole));
        let shared = web::Data::from(state.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .route("/apis/argoproj.io/v1alpha1/namespaces/{namespace}/{resource}/{name}", web::get().to(get))
                .route("/api/v1/namespaces/{namespace}/{resource}/{name}", web::get().to(get))
                .route("/apis/apps/v1/namespaces/{namespace}/{resource}", web::get().to(list))
                .route("/apis/argoproj.io/v1alpha1", web::get().to(kinds))
                .route(
                    "/apis/authorization.k8s.io/v1/namespaces/{namespace}/localsubjectaccessreviews",
                    web::post().to(review),
                )
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .expect("there is a free port");
        let url = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(server);
        let directory = TempDir::new();
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": url}}],
            "users": [{"name": "fake", "user": {"token": TOKEN}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": OWN_NAMESPACE}}],
        });
        fs::write(directory.path().join("kubeconfig"), kubeconfig.to_string()).expect("the kubeconfig can be written");
        let fake = Self { state, server: handle, directory };
        fake.put(NAME, UID);
        fake
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.path().join("kubeconfig")
    }

    /// The flag that leads the plugin here.
    pub fn flag(&self) -> String {
        format!("--kubeconfig={}", self.kubeconfig().display())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| panic!("{e}"))
    }

    /// A workflow that began a moment ago and runs, with its tasks.
    pub fn put(&self, name: &str, uid: &str) {
        let started = time::OffsetDateTime::now_utc() - Duration::from_secs(2);
        let started = started.format(&time::format_description::well_known::Rfc3339).expect("a time");
        let workflow = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": uid,
                         "labels": {"workflows.argoproj.io/phase": "Running"}},
            "spec": {"entrypoint": "main"},
            "status": {"phase": "Running", "startedAt": started, "finishedAt": null},
        });
        let tasks = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTaskSet",
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": format!("tasks-of-{uid}"),
                         "ownerReferences": [{"kind": "Workflow", "name": name, "uid": uid}]},
            "spec": {"tasks": {}},
        });
        let mut state = self.state();
        let key = |resource: &str| (resource.to_owned(), NAMESPACE.to_owned(), name.to_owned());
        state.objects.insert(key("workflows"), workflow);
        state.objects.insert(key("workflowtasksets"), tasks);
    }

    /// Puts any object there, or takes it away.
    pub fn put_object(&self, resource: &str, namespace: &str, name: &str, object: Option<Value>) {
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let mut state = self.state();
        match object {
            Some(object) => state.objects.insert(key, object),
            None => state.objects.remove(&key),
        };
    }

    /// Allows an account something more, or forbids it again. A subresource goes after a slash.
    pub fn allow(&self, user: &str, verb: &str, what: &str, allowed: bool) {
        let right = (user.to_owned(), verb.to_owned(), what.to_owned());
        let mut state = self.state();
        match allowed {
            true => state.rights.insert(right),
            false => state.rights.remove(&right),
        };
    }

    /// Changes the Workflow.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let key = ("workflows".to_owned(), NAMESPACE.to_owned(), name.to_owned());
        change(self.state().objects.get_mut(&key).expect("the workflow is there"));
    }

    /// What `argo stop` or `argo terminate` writes.
    pub fn shut_down(&self, name: &str, strategy: &str) {
        self.change(name, |workflow| workflow["spec"]["shutdown"] = json!(strategy));
    }

    /// What `kubectl delete` leaves.
    pub fn delete(&self, name: &str) {
        self.state().objects.retain(|(_, _, own), _| own != name);
    }

    /// Denies reading these resources from now on.
    pub fn forbid(&self, resources: &[&'static str]) {
        self.state().forbidden = resources.iter().copied().collect();
    }

    /// From now on only these users and groups may patch `workflowtasksets/status`.
    pub fn let_write_task_sets(&self, who: &[&'static str]) {
        self.state().task_set_writers = who.iter().copied().collect();
    }

    /// One of the cluster's authorizers cannot be asked from now on.
    pub fn break_authorizer(&self, error: &'static str) {
        self.state().evaluation_error = error;
    }

    /// The questions so far of who may do what.
    pub fn reviews(&self) -> Vec<Value> {
        self.state().reviews.clone()
    }

    /// Every answer takes so long from now on.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// The API server's cache, which answers `resourceVersion=0`, has lost everything from now on.
    pub fn lag(&self, lags: bool) {
        self.state().lags = lags;
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }
}

impl Drop for FakeKubernetes {
    fn drop(&mut self) {
        // The workers hear of it without anybody awaiting them.
        drop(self.server.stop(false));
    }
}

async fn get(
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
    state: web::Data<Mutex<State>>,
) -> HttpResponse {
    let (namespace, resource, name) = path.into_inner();
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let (answer, delay) = {
        let mut state = state.lock().unwrap_or_else(|e| panic!("{e}"));
        state.requests.push(format!("{resource} {name}?{}", request.query_string()));
        let details = json!({"name": name, "group": "argoproj.io", "kind": resource});
        let answer = if header("Authorization") != format!("Bearer {TOKEN}") {
            refusal(401, "Unauthorized", "Unauthorized", &json!({}))
        } else if resource == "secrets" && !header("Accept").contains("as=PartialObjectMetadata") {
            // Not so in Kubernetes; here, so that nobody ever asks for what is secret.
            refusal(403, "Forbidden", "nobody may read what is in a secret", &details)
        } else if state.forbidden.contains(resource.as_str()) {
            let text = format!(
                "{resource}.argoproj.io \"{name}\" is forbidden: User \"system:serviceaccount:argo:fake\" cannot get \
                 resource \"{resource}\" in API group \"argoproj.io\" in the namespace \"{namespace}\""
            );
            refusal(403, "Forbidden", &text, &details)
        } else {
            let lost = state.lags && request.query_string().contains("resourceVersion=0");
            let found = state.objects.get(&(resource.clone(), namespace, name.clone()));
            match found.filter(|_| !lost) {
                None => refusal(404, "NotFound", &format!("{resource}.argoproj.io \"{name}\" not found"), &details),
                Some(object) if header("Accept").contains("as=PartialObjectMetadata") => HttpResponse::Ok().json(
                    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]}),
                ),
                Some(object) => HttpResponse::Ok().json(object),
            }
        };
        (answer, state.delay)
    };
    actix_rt::time::sleep(delay).await;
    answer
}

/// All objects of a kind in a namespace.
async fn list(path: web::Path<(String, String)>, state: web::Data<Mutex<State>>) -> HttpResponse {
    let (namespace, resource) = path.into_inner();
    let state = state.lock().unwrap_or_else(|e| panic!("{e}"));
    if state.forbidden.contains(resource.as_str()) {
        let text =
            format!("{resource} is forbidden: cannot list resource \"{resource}\" in the namespace \"{namespace}\"");
        return refusal(403, "Forbidden", &text, &json!({"kind": resource}));
    }
    let wanted = |key: &(String, String, String)| key.0 == resource && key.1 == namespace;
    let items: Vec<&Value> = state.objects.iter().filter(|(key, _)| wanted(key)).map(|(_, object)| object).collect();
    HttpResponse::Ok().json(json!({"kind": "List", "apiVersion": "apps/v1", "metadata": {}, "items": items}))
}

/// The kinds of Argo: there unless they are forbidden, which stands for a token that is not taken.
async fn kinds(request: HttpRequest, state: web::Data<Mutex<State>>) -> HttpResponse {
    let state = state.lock().unwrap_or_else(|e| panic!("{e}"));
    let taken = request.headers().get("Authorization").is_some_and(|own| *own == *format!("Bearer {TOKEN}"));
    match (taken, state.forbidden.contains("argoproj.io")) {
        (false, _) => refusal(401, "Unauthorized", "Unauthorized", &json!({})),
        (true, true) => refusal(404, "NotFound", "404 page not found", &json!({})),
        (true, false) => {
            HttpResponse::Ok().json(json!({"kind": "APIResourceList", "apiVersion": "v1", "resources": []}))
        }
    }
}

/// A LocalSubjectAccessReview, judged as the API server does: the namespaces of path, object and question must be one.
async fn review(path: web::Path<String>, body: web::Json<Value>, state: web::Data<Mutex<State>>) -> HttpResponse {
    let namespace = path.into_inner();
    let mut answer = body.into_inner();
    let mut state = state.lock().unwrap_or_else(|e| panic!("{e}"));
    state.reviews.push(answer.clone());
    if state.forbidden.contains("localsubjectaccessreviews") {
        let text = "localsubjectaccessreviews.authorization.k8s.io is forbidden: User \"system:serviceaccount:ml:fake\" \
                    cannot create resource \"localsubjectaccessreviews\" in API group \"authorization.k8s.io\"";
        return refusal(403, "Forbidden", text, &json!({"kind": "localsubjectaccessreviews"}));
    }
    let asked = &answer["spec"]["resourceAttributes"];
    let is_wrong = answer["kind"] != "LocalSubjectAccessReview"
        || answer["metadata"]["namespace"] != *namespace
        || asked["namespace"] != *namespace;
    if is_wrong {
        return refusal(422, "Invalid", "spec.resourceAttributes.namespace: must match the namespace", &json!({}));
    }
    let is_ours = asked["verb"] == "patch"
        && asked["group"] == "argoproj.io"
        && asked["resource"] == "workflowtasksets"
        && asked["subresource"] == "status";
    let groups = answer["spec"]["groups"].as_array().into_iter().flatten();
    let who: Vec<&str> = groups.chain([&answer["spec"]["user"]]).filter_map(Value::as_str).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let what = match text(&asked["subresource"]).as_str() {
        "" => text(&asked["resource"]),
        sub => format!("{}/{sub}", text(&asked["resource"])),
    };
    let right = (text(&answer["spec"]["user"]), text(&asked["verb"]), what);
    let allowed =
        state.rights.contains(&right) || is_ours && who.iter().any(|who| state.task_set_writers.contains(who));
    answer["status"] = json!({"allowed": allowed});
    if !state.evaluation_error.is_empty() {
        answer["status"]["evaluationError"] = json!(state.evaluation_error);
    }
    HttpResponse::Created().json(answer)
}

fn refusal(code: u16, reason: &str, message: &str, details: &Value) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(code).expect("a status");
    HttpResponse::build(status).json(json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "details": details, "code": code,
    }))
}
