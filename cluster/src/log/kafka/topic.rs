//! Creating topics, and what must hold of one before it is trusted with a log.

use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use super::{MAX_RECORD, PATIENCE, PAUSE, TRIES, client, failed};
use crate::error::{Error, Result};
use crate::tasks::sleep;
use proto::Offset;

/// What a topic is created with; the first three are asked of every topic at every start.
const SETTINGS: [(&str, &str); 3] =
    [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];

/// The way to change topics.
pub(super) struct Topics {
    brokers: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Topics {
    pub(super) fn new(brokers: &str) -> Result<Self> {
        let admin = client(brokers).create().map_err(|error| failed(brokers, &error))?;
        Ok(Self { brokers: brokers.to_owned(), admin })
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
    }

    /// Creates the topic when it is missing, and refuses one that would lose messages.
    pub(super) async fn ensure(&self, topic: &str) -> Result<()> {
        let settings = match self.describe(topic).await? {
            Some(settings) => settings,
            None => {
                self.create(topic).await?;
                self.describe_created(topic).await?
            }
        };
        for (name, wanted) in SETTINGS {
            let value = settings.get(name).and_then(|entry| entry.value.as_deref()).unwrap_or("");
            if value != wanted {
                let reason = format!("{name} is \"{value}\", so it would lose records; set it to {wanted}");
                return Err(refused(topic, &reason));
            }
        }
        Ok(())
    }

    /// Whether there is a topic of this name.
    pub(super) async fn exists(&self, topic: &str) -> Result<bool> {
        Ok(self.describe(topic).await?.is_some())
    }

    /// The settings of a topic; None when there is none of this name.
    async fn describe(&self, topic: &str) -> Result<Option<ConfigResource>> {
        let asked = self.admin.describe_configs(&[ResourceSpecifier::Topic(topic)], &self.options()).await;
        let answers = asked.map_err(|error| failed(&self.brokers, &error))?;
        match answers.into_iter().next() {
            // What the broker answers about a topic that does not exist arrives as no settings at all.
            Some(Ok(settings)) if settings.entries.is_empty() => Ok(None),
            Some(Ok(settings)) => Ok(Some(settings)),
            Some(Err(code)) => Err(failed(&self.brokers, &code)),
            None => Err(failed(&self.brokers, &"no answer about the topic")),
        }
    }

    /// The settings of a topic that is there, although a broker may not know yet.
    async fn describe_created(&self, topic: &str) -> Result<ConfigResource> {
        for _ in 0..TRIES {
            if let Some(settings) = self.describe(topic).await? {
                return Ok(settings);
            }
            sleep(Some(PAUSE)).await;
        }
        Err(refused(topic, "it was created and its settings cannot be read"))
    }

    async fn create(&self, topic: &str) -> Result<()> {
        let largest = MAX_RECORD.to_string();
        let mut wanted =
            NewTopic::new(topic, 1, TopicReplication::Fixed(-1)).set("max.message.bytes", &largest);
        for (name, value) in SETTINGS {
            wanted = wanted.set(name, value);
        }
        let created = self.admin.create_topics([&wanted], &self.options()).await;
        match created.map_err(|error| failed(&self.brokers, &error))?.into_iter().next() {
            Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((_, code))) => Err(refused(topic, &format!("it could not be created: {code}"))),
            None => Err(failed(&self.brokers, &"no answer about the new topic")),
        }
    }

    /// Gives up the messages before an offset.
    pub(super) async fn delete_before(&self, topic: &str, before: Offset) -> Result<()> {
        let mut wanted = TopicPartitionList::new();
        wanted
            .add_partition_offset(topic, 0, KafkaOffset::Offset(before.0 as i64))
            .map_err(|error| failed(&self.brokers, &error))?;
        let deleted = self.admin.delete_records(&wanted, &self.options()).await;
        let deleted = deleted.map_err(|error| failed(&self.brokers, &error))?;
        for element in deleted.elements() {
            element.error().map_err(|error| failed(&self.brokers, &error))?;
        }
        Ok(())
    }
}

fn refused(topic: &str, reason: &str) -> Error {
    Error::Unavailable { what: format!("Kafka topic {topic}"), reason: reason.to_owned() }
}
