//! What a resume of the demo has spared, as SageMaker's book tells it.

use serde_json::{Value, json};

use super::{
    controller::NodeEnd,
    stage::{Stage, StageError},
};

/// A step as ListPipelineExecutionSteps shows it.
struct Step {
    name: String,
    attempts: u64,
    seconds: f64,
}

impl Step {
    fn read(step: &Value) -> Option<Self> {
        let seconds = step["EndTime"].as_f64()? - step["StartTime"].as_f64()?;
        Some(Self { name: step["StepName"].as_str()?.to_owned(), attempts: step["AttemptCount"].as_u64()?, seconds })
    }
}

/// Which steps of the node that was retried ran again, and which did not; or why it was not resumed.
pub async fn tell(stage: &Stage, ended: &[NodeEnd]) -> Result<Result<Vec<String>, String>, StageError> {
    let Some(end) = ended.iter().find(|end| end.attempts.len() > 1) else {
        return Ok(Err("no node was retried".to_owned()));
    };
    let arns: Vec<&str> = end.attempts.iter().filter_map(|status| status.output("execution-arn")).collect();
    let arn = match arns.as_slice() {
        [first, rest @ ..] if rest.iter().all(|arn| arn == first) => *first,
        _ => return Ok(Err(format!("the attempts of {} have executions of their own: {}", end.name, arns.join(", ")))),
    };
    let of = json!({"PipelineExecutionArn": arn, "MaxResults": 100, "SortOrder": "Ascending"});
    let answer = stage.sagemaker("ListPipelineExecutionSteps", &of).await?;
    let steps: Vec<Step> =
        answer["PipelineExecutionSteps"].as_array().into_iter().flatten().filter_map(Step::read).collect();
    Ok(lines(&steps))
}

fn lines(steps: &[Step]) -> Result<Vec<String>, String> {
    let resumed = steps.iter().find(|step| step.attempts > 1).ok_or("no step has run again")?;
    // The steps after it ran once, too, but only in the resumed run.
    let before: Vec<&Step> = steps.iter().take_while(|step| step.attempts == 1).collect();
    let seconds: f64 = before.iter().map(|step| step.seconds).sum();
    let names: Vec<&str> = before.iter().map(|step| step.name.as_str()).collect();
    let spared = if names.is_empty() { "nothing, it was the first step".to_owned() } else { names.join(", ") };
    Ok(vec![
        format!("resumed at {} (attempt {} of the step), under the same ARN", resumed.name, resumed.attempts),
        format!("not run again: {spared}; {seconds:.1} s saved"),
        String::new(),
    ])
}
