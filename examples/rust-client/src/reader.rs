//! Reads a run to its end: each event once, in order, over several calls and cores if needed. It follows
//! the rules of docs/grpc.md, "Following again".

use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
    time::{Duration, Instant},
};

use rand::Rng;
use tokio::{sync::watch, time::sleep};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
    Request, Status, Streaming,
};

use crate::{
    failure,
    pb::{
        agent_service_client::AgentServiceClient, control, CancelCause, CancelRunRequest, Control, Cursor,
        Event, FollowRunRequest, FollowRunResponse, GetRunRequest, OnDisconnect, RunSpec, StreamRunRequest,
        StreamRunResponse,
    },
    position::{Outcome, Place, Position, Verdict},
    security::Principal,
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const UNARY_TIMEOUT: Duration = Duration::from_secs(5);

pub type Client = AgentServiceClient<InterceptedService<Channel, Principal>>;

/// Cores that serve the same runs, and how they are called.
pub struct Cores {
    pub endpoints: Vec<Endpoint>,
    pub principal: Principal,
    /// How long to try without contact.
    pub patience: Duration,
    tried: AtomicUsize, // number of cores left so far: selects the next one
}

impl Cores {
    pub fn new(endpoints: Vec<Endpoint>, principal: Principal, patience: Duration) -> Self {
        Self { endpoints, principal, patience, tried: AtomicUsize::new(0) }
    }

    /// Returns a client of the core whose turn it is, over a connection of its own.
    async fn client(&self) -> Result<Client, Status> {
        let turn = self.tried.load(Ordering::Relaxed) % self.endpoints.len();
        let channel = self.endpoints[turn].connect().await;
        let channel = channel.map_err(|error| {
            let mut status = Status::unavailable("no connection");
            status.set_source(Arc::new(error));
            status
        })?;
        Ok(AgentServiceClient::with_interceptor(channel, self.principal.clone()))
    }

    fn leave(&self) {
        self.tried.fetch_add(1, Ordering::Relaxed);
    }

    /// Cancels a run, as soon as its id is known, retrying as needed.
    pub async fn stop(&self, mut known: watch::Receiver<String>) -> Result<(), Status> {
        let run_id = known.wait_for(|id| !id.is_empty()).await.map(|id| id.clone());
        let run_id = run_id.map_err(|_| Status::cancelled("the run was never started"))?;
        let began = Instant::now();
        for turn in 0.. {
            match self.stop_once(&run_id).await {
                Err(status) if failure::is_final(&status) || began.elapsed() > self.patience => {
                    return Err(status)
                }
                Err(_) => self.leave(),
                Ok(()) => break,
            }
            sleep(pause_before(turn)).await;
        }
        Ok(())
    }

    async fn stop_once(&self, run_id: &str) -> Result<(), Status> {
        let mut request =
            Request::new(CancelRunRequest { run_id: run_id.into(), cause: CancelCause::Stop.into() });
        request.set_timeout(UNARY_TIMEOUT);
        self.client().await?.cancel_run(request).await.map(|_| ())
    }
}

/// What StreamRun and FollowRun send.
trait Response {
    fn parts(self) -> (String, Option<Control>, Vec<Event>);
}

impl Response for StreamRunResponse {
    fn parts(self) -> (String, Option<Control>, Vec<Event>) {
        (self.run_id, self.control, self.events)
    }
}

impl Response for FollowRunResponse {
    fn parts(self) -> (String, Option<Control>, Vec<Event>) {
        (self.run_id, self.control, self.events)
    }
}

/// A run that is read to its end.
pub struct RunReader<'a> {
    pub at: Position,
    cores: &'a Cores,
    spec: RunSpec,
    deadline: Option<Instant>,
    show: &'a mut dyn FnMut(&Event),
    known: watch::Sender<String>,
    tries: u32,     // calls without contact
    heard: Instant, // when the last contact ended
    wait: Duration, // the delay that a draining core asks for
}

impl<'a> RunReader<'a> {
    /// Returns a reader that starts a run. The deadline is the run's too.
    pub fn start(
        cores: &'a Cores,
        spec: RunSpec,
        deadline: Option<Instant>,
        show: &'a mut dyn FnMut(&Event),
    ) -> Self {
        let spec = RunSpec {
            request_id: uuid::Uuid::new_v4().to_string(), // makes a repeated start safe
            on_disconnect: OnDisconnect::Grace.into(),
            ..spec
        };
        let known = watch::Sender::new(String::new());
        let (heard, wait) = (Instant::now(), Duration::ZERO);
        Self { at: Position::default(), cores, spec, deadline, show, known, tries: 0, heard, wait }
    }

    /// Returns a reader of a run that was started before, after one of its events.
    pub fn follow(
        cores: &'a Cores,
        run_id: String,
        after: Option<Place>,
        deadline: Option<Instant>,
        show: &'a mut dyn FnMut(&Event),
    ) -> Self {
        let mut reader = Self::start(cores, RunSpec::default(), deadline, show);
        reader.at.cursor = after;
        reader.learn(run_id);
        reader
    }

    /// Returns a receiver of the run's id.
    pub fn known(&self) -> watch::Receiver<String> {
        self.known.subscribe()
    }

    /// Reads to the terminal event. It fails with a final refusal, or without contact
    /// within the patience.
    pub async fn read(&mut self) -> Result<Outcome, Status> {
        loop {
            let ended = self.read_once().await;
            if let Some(outcome) = self.at.outcome {
                return Ok(outcome);
            }
            let status =
                ended.err().unwrap_or_else(|| Status::unavailable("the stream ended before the run"));
            let Some(pause) = self.pause_after(&status) else { return Err(status) };
            sleep(pause).await;
        }
    }

    /// Reads one stream to its own end.
    async fn read_once(&mut self) -> Result<(), Status> {
        let mut client = self.cores.client().await?;
        if self.at.run_id.is_empty() {
            let request = self.timed(StreamRunRequest { run: Some(self.spec.clone()), relay: false })?;
            self.read_stream(client.stream_run(request).await?.into_inner()).await?;
        } else {
            let after = self.at.cursor.map(|(epoch, sequence)| Cursor { epoch, sequence });
            let request =
                self.timed(FollowRunRequest { run_id: self.at.run_id.clone(), after, relay: false })?;
            self.read_stream(client.follow_run(request).await?.into_inner()).await?;
        }
        if self.at.outcome.is_none() && !self.at.run_id.is_empty() {
            let mut request =
                Request::new(GetRunRequest { run_id: self.at.run_id.clone(), include_message: false });
            request.set_timeout(UNARY_TIMEOUT);
            self.at.conclude(&client.get_run(request).await?.into_inner().run.unwrap_or_default());
        }
        Ok(())
    }

    /// Shows what a stream brings. Dropping it at the end is what ends the call.
    async fn read_stream<T: Response>(&mut self, mut stream: Streaming<T>) -> Result<(), Status> {
        loop {
            let message = match self.deadline {
                Some(deadline) => tokio::time::timeout_at(deadline.into(), stream.message())
                    .await
                    .unwrap_or_else(|_| Err(Status::deadline_exceeded("the deadline has passed"))),
                None => stream.message().await,
            };
            let Some(response) = message? else { return Ok(()) };
            let (run_id, control, events) = response.parts();
            self.learn(run_id);
            self.heed(control.and_then(|control| control.control));
            for event in &events {
                self.take(event)?;
            }
        }
    }

    fn take(&mut self, event: &Event) -> Result<(), Status> {
        let verdict = self.at.take(event);
        if verdict == Verdict::Missing {
            return Err(Status::unavailable(format!("event {} came too early", event.sequence)));
        }
        self.hear();
        if verdict == Verdict::Fresh {
            (self.show)(event);
        }
        Ok(())
    }

    fn learn(&mut self, run_id: String) {
        if self.at.run_id.is_empty() && !run_id.is_empty() {
            self.at.run_id.clone_from(&run_id);
            self.known.send_replace(run_id);
        }
    }

    /// Handles a control. Unknown controls are skipped.
    fn heed(&mut self, said: Option<control::Control>) {
        if said.is_some() {
            self.hear();
        }
        match said {
            Some(control::Control::Resync(resync)) => {
                let first = resync.first.unwrap_or_default();
                self.at.resync(&first);
                eprintln!("resync ({}): goes on with event {}", resync.reason, first.sequence);
            }
            Some(control::Control::Degraded(degraded)) => eprintln!("waiting: {}", degraded.message),
            Some(control::Control::Draining(draining)) => {
                self.wait = Duration::from_millis(draining.retry_ms.into()); // the stream ends by itself
            }
            Some(control::Control::CaughtUp(_)) | None => {}
        }
    }

    /// Resets the pauses: the core has answered.
    fn hear(&mut self) {
        self.tries = 0;
        self.wait = Duration::ZERO;
    }

    /// Returns the pause before the next call, to the next core; None to give up.
    fn pause_after(&mut self, status: &Status) -> Option<Duration> {
        if self.tries == 0 {
            self.heard = Instant::now();
        }
        let mut pause = pause_before(self.tries);
        if self.cores.endpoints.len() == 1 {
            // A delay applies only to the core that asked for it.
            pause = pause.max(self.wait).max(failure::retry_after(status));
        }
        if failure::is_final(status) || self.heard.elapsed() + pause > self.cores.patience {
            return None;
        }
        if self.tries == 0 && !self.at.run_id.is_empty() {
            let code = failure::name_of(status.code());
            eprintln!("the stream broke off ({code}): following the run again");
        }
        self.tries += 1;
        self.cores.leave();
        Some(pause)
    }

    /// Returns a request with what is left of the deadline.
    fn timed<T>(&self, message: T) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Status::deadline_exceeded("the deadline has passed"));
            }
            request.set_timeout(left);
        }
        Ok(request)
    }
}

/// Tries are counted from 0 after the last contact. The random part spreads the clients of a failed core.
fn pause_before(attempt: u32) -> Duration {
    let pause = LONGEST_PAUSE.min(FIRST_PAUSE * 2u32.pow(attempt.min(8)));
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}
