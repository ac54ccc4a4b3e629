//! A native client: many calls at once over one connection, told apart by their request ids.

use std::sync::Arc;
use std::time::Duration;

use chio_json::Signed;
use chio_spec::{
    AgentMessage, CapabilityId, CapabilityToken, KernelMessage, ToolCallRequest, ToolCallResponse,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::outbox::Outbox;
use crate::waiting::{CallStream, Waiting};
use crate::{Address, FrameReader, NativeError, frame, listener};

/// Time that one frame may take in either direction.
const FRAME_DEADLINE: Duration = Duration::from_secs(30);

/// One connection to a kernel. Dropping it closes the connection, which cancels its calls.
#[derive(Debug)]
pub struct Client {
    outbox: Outbox,
    waiting: Arc<Waiting>,
    _reading: AbortOnDropHandle<()>,
}

impl Client {
    /// Connects to a TCP or Unix endpoint.
    ///
    /// # Errors
    /// [`NativeError::Io`] with the system's answer; [`NativeError::NoClientOverStdio`].
    pub async fn connect(address: &Address) -> Result<Self, NativeError> {
        let failed = |error| NativeError::system(format!("connecting to {address}"), error);
        match address {
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
                listener::prepare_tcp(&stream);
                let (source, sink) = stream.into_split();
                Ok(Self::over(source, sink))
            }
            Address::Unix(path) => {
                let (source, sink) = UnixStream::connect(path).await.map_err(failed)?.into_split();
                Ok(Self::over(source, sink))
            }
            Address::Stdio => Err(NativeError::NoClientOverStdio),
        }
    }

    /// A client over two streams, such as the pipes of a child process that serves `stdio:`.
    pub fn over<R, W>(source: R, sink: W) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let broken = CancellationToken::new();
        let (outbox, _writer) = Outbox::start(sink, FRAME_DEADLINE, broken.clone());
        let waiting = Arc::new(Waiting::default());
        let reading = read(FrameReader::new(source, FRAME_DEADLINE), Arc::clone(&waiting), broken);
        Self { outbox, waiting, _reading: AbortOnDropHandle::new(tokio::spawn(reading)) }
    }

    /// Sends one call; its chunks and its response come from the stream that is returned.
    ///
    /// # Errors
    /// [`NativeError::RequestIdInFlight`], those of [`frame::encode`], or the connection is closed.
    pub async fn start(&self, request: ToolCallRequest) -> Result<CallStream, NativeError> {
        let id = request.id.clone();
        let answers = self.waiting.expect_call(&id)?;
        match self.outbox.send(&AgentMessage::ToolCallRequest(Box::new(request))).await {
            Ok(()) => Ok(CallStream::new(answers, Arc::clone(&self.waiting))),
            Err(error) => {
                self.waiting.forget_call(&id);
                Err(error)
            }
        }
    }

    /// Sends one call and waits for its response; chunks are thrown away.
    ///
    /// # Errors
    /// Those of [`start`](Self::start) and [`CallStream::response`].
    pub async fn call(&self, request: ToolCallRequest) -> Result<ToolCallResponse, NativeError> {
        self.start(request).await?.response().await
    }

    /// The capabilities that verified on this connection and are still valid.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn list_capabilities(&self) -> Result<Vec<Signed<CapabilityToken>>, NativeError> {
        let (sender, list) = oneshot::channel();
        self.waiting.open(|open| open.lists.push_back(sender))?;
        self.outbox.send(&AgentMessage::ListCapabilities).await?;
        list.await.map_err(|_| self.waiting.why_closed())
    }

    /// Asks the kernel for a sign of life and waits for it.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn heartbeat(&self) -> Result<(), NativeError> {
        let (sender, beat) = oneshot::channel();
        self.waiting.open(|open| open.beats.push_back(sender))?;
        self.outbox.send(&AgentMessage::Heartbeat).await?;
        beat.await.map_err(|_| self.waiting.why_closed())
    }

    /// The ids of capabilities of which the kernel says, from now on, that they are no longer valid.
    #[must_use]
    pub fn revocations(&self) -> broadcast::Receiver<CapabilityId> {
        self.waiting.notices()
    }
}

/// Hands every message of the kernel to who waits for it, until the connection ends; then tells everybody why.
async fn read<R: AsyncRead + Unpin>(
    mut reader: FrameReader<R>,
    waiting: Arc<Waiting>,
    broken: CancellationToken,
) {
    let ended = tokio::select! {
        ended = take_frames(&mut reader, &waiting) => ended,
        () = broken.cancelled() => Ok(()),
    };
    waiting.close(ended.err().unwrap_or(NativeError::ConnectionClosed));
}

async fn take_frames<R: AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    waiting: &Waiting,
) -> Result<(), NativeError> {
    while let Some(frame) = reader.next().await? {
        match frame::decode(frame.payload())? {
            KernelMessage::ToolCallChunk(chunk) => waiting.chunk(*chunk).await?,
            KernelMessage::ToolCallResponse(response) => waiting.response(*response).await?,
            KernelMessage::CapabilityList(list) => waiting.list(list.capabilities)?,
            KernelMessage::CapabilityRevoked(notice) => waiting.notice(notice.id),
            KernelMessage::Heartbeat => waiting.beat()?,
        }
    }
    Ok(())
}
