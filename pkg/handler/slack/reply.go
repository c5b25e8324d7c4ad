package slack

// Response is the answer to an outgoing webhook: a message in the channel. An
// empty text is no message.
type Response struct {
	Text string `json:"text"`
}

// Who sees the answer to a slash command.
const (
	// InChannel shows it, and the command, to everybody in the channel.
	InChannel = "in_channel"
	// Ephemeral shows it to the person who typed the command. It is what an empty
	// ResponseType means.
	Ephemeral = "ephemeral"
)

// SlashResponse is the answer to a slash command, and what its response URL takes.
type SlashResponse struct {
	// Text in Slack's mrkdwn.
	Text string `json:"text"`
	// ResponseType is [InChannel] or [Ephemeral].
	ResponseType string `json:"response_type,omitempty"`
	// ReplaceOriginal and DeleteOriginal, for a response URL, put the message in the
	// place of the one that a person clicked on, or remove that.
	ReplaceOriginal bool `json:"replace_original,omitempty"`
	DeleteOriginal  bool `json:"delete_original,omitempty"`
	// Blocks are Block Kit's (https://docs.slack.dev/reference/block-kit/blocks), as
	// anything that has their JSON form.
	Blocks []any `json:"blocks,omitempty"`
	// Attachments stand below the text.
	Attachments []Attachment `json:"attachments,omitempty"`
}

// Attachment is a part of a message with a shape of its own
// (https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments).
type Attachment struct {
	// Text is its main text, and Fallback the plain text for who cannot show it.
	Text     string `json:"text"`
	Fallback string `json:"fallback"`
	// Color of the line beside it: good, warning, danger or #439FE0.
	Color string `json:"color,omitempty"`
	// Pretext stands above it.
	Pretext string `json:"pretext,omitempty"`

	AuthorName string `json:"author_name,omitempty"`
	AuthorLink string `json:"author_link,omitempty"`
	AuthorIcon string `json:"author_icon,omitempty"`
	Title      string `json:"title,omitempty"`
	TitleLink  string `json:"title_link,omitempty"`
	ImageURL   string `json:"image_url,omitempty"`
	ThumbURL   string `json:"thumb_url,omitempty"`
	// Fields are shown as a table.
	Fields []Field `json:"fields,omitempty"`
}

// Field is a cell of an attachment's table.
type Field struct {
	Title string `json:"title"`
	Value string `json:"value"`
	// Short lets another one stand beside it.
	Short bool `json:"short"`
}
