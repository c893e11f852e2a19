//! What was seen on the wire during one call, over all of the SDK's attempts.
//!
//! The SDK's final error describes its last attempt only. A start whose first attempt was lost after sending and whose
//! second was throttled has *not* certainly failed: this recorder is what lets [`crate::backend::errors`] say so.

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_sdk_cloudwatchlogs::operation::{
    describe_log_streams::DescribeLogStreamsError, get_log_events::GetLogEventsError,
};
use aws_sdk_sagemaker::config::{
    ConfigBag, Intercept, RuntimeComponents,
    interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
};
use aws_sdk_sagemaker::{
    error::{BoxError, ProvideErrorMetadata as _},
    operation::{
        describe_auto_ml_job_v2::DescribeAutoMLJobV2Error,
        describe_hyper_parameter_tuning_job::DescribeHyperParameterTuningJobError,
        describe_pipeline::DescribePipelineError, describe_pipeline_execution::DescribePipelineExecutionError,
        describe_processing_job::DescribeProcessingJobError, describe_training_job::DescribeTrainingJobError,
        describe_transform_job::DescribeTransformJobError,
        list_pipeline_execution_steps::ListPipelineExecutionStepsError,
        list_pipeline_executions::ListPipelineExecutionsError, list_pipelines::ListPipelinesError,
        retry_pipeline_execution::RetryPipelineExecutionError, start_pipeline_execution::StartPipelineExecutionError,
        stop_pipeline_execution::StopPipelineExecutionError, update_pipeline_execution::UpdatePipelineExecutionError,
    },
};
use aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityError;
use aws_smithy_runtime_api::client::interceptors::context;
use aws_smithy_types::date_time::{DateTime, Format};

use super::codes::known_by_code;
use crate::pipelines::{CallErrorKind, Time};

/// What is known of a call's attempts so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts that got as far as the connector. Zero means that certainly nothing left the process.
    pub sent: u32,
    /// Attempts that AWS refused for their rate, whatever became of the call.
    pub throttled: u32,
    /// An attempt before the last one may have been carried out.
    pub earlier_in_doubt: bool,
    /// The `Date` of the newest response, whole seconds.
    pub server_time: Option<Time>,
}

#[derive(Debug, Default)]
struct State {
    attempts: Attempts,
    transmitting: bool,
    last_in_doubt: bool,
}

/// An interceptor for exactly one call; clones share what they saw.
#[derive(Clone, Debug, Default)]
pub struct AttemptRecorder(Arc<Mutex<State>>);

impl AttemptRecorder {
    /// What was seen until now.
    pub fn attempts(&self) -> Attempts {
        self.state().attempts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for AttemptRecorder {
    fn name(&self) -> &'static str {
        "AttemptRecorder"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut state = self.state();
        state.attempts.sent += 1;
        state.transmitting = true;
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut state = self.state();
        if let (Some(Err(error)), Some(response)) = (context.output_or_error(), context.response())
            && let Some((code, message)) = error.as_operation_error().and_then(words)
            && known_by_code(code, response.status().as_u16(), message) == CallErrorKind::Throttled
        {
            state.attempts.throttled += 1;
        }
        if let Some(date) = context.response().and_then(|response| response.headers().get("date")) {
            state.attempts.server_time = http_date(date).or(state.attempts.server_time);
        }
        let earlier = state.last_in_doubt;
        state.attempts.earlier_in_doubt |= earlier;
        state.last_in_doubt = std::mem::take(&mut state.transmitting)
            && match context.output_or_error() {
                Some(Ok(_)) => false,
                Some(Err(error)) if error.is_operation_error() => {
                    context.response().is_none_or(|response| response.status().as_u16() >= 500)
                }
                Some(Err(error)) => !error.as_connector_error().is_some_and(|error| never_connected(error)),
                None => true,
            };
        Ok(())
    }
}

/// AWS's code and message in one attempt's error. An interceptor sees the error without its type.
pub fn words(error: &context::Error) -> Option<(&str, &str)> {
    macro_rules! of_any {
        ($($operation:ty),+ $(,)?) => {
            $(if let Some(error) = error.downcast_ref::<$operation>() {
                return Some((error.code().unwrap_or_default(), error.message().unwrap_or_default()));
            })+
        };
    }
    of_any![
        DescribeAutoMLJobV2Error,
        DescribeHyperParameterTuningJobError,
        DescribeLogStreamsError,
        DescribePipelineError,
        DescribePipelineExecutionError,
        DescribeProcessingJobError,
        DescribeTrainingJobError,
        DescribeTransformJobError,
        GetCallerIdentityError,
        GetLogEventsError,
        ListPipelineExecutionStepsError,
        ListPipelineExecutionsError,
        ListPipelinesError,
        RetryPipelineExecutionError,
        StartPipelineExecutionError,
        StopPipelineExecutionError,
        UpdatePipelineExecutionError,
    ];
    None
}

/// Whether this error, or one below it, says that no connection came about (refused, no such host, TLS).
pub fn never_connected(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|e| {
        e.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(hyper_util::client::legacy::Error::is_connect)
    })
}

/// An error and everything below it, outermost first.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |e| (*e).source())
}

/// The text of the innermost error: the cause.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// A response's `Date`.
pub fn http_date(text: &str) -> Option<Time> {
    DateTime::from_str(text, Format::HttpDate).ok()?.to_millis().ok().map(Time::at)
}

/// A time of the system's clock.
pub fn time_of(system: SystemTime) -> Time {
    Time::at(0).plus(system.duration_since(UNIX_EPOCH).unwrap_or_default())
}
