// The npm SDKs of providers, for the Go tests in the folder above. It reads
// cases from standard input and answers on standard output, a line of JSON each.
//
//   {"sdk":"stripe","do":"verify","secret":…,"method":…,"url":…,"headers":{…},"body":base64}
//   {"ok":true}, or {"ok":false,"why":…}
//
// With "do":"sign" the answer is {"ok":true,"headers":{…},"body":base64}: what the
// SDK's own signer makes; a body where the signature stands there. The first line that it writes lists the SDKs.
import {createRequire} from 'node:module'
import {readFileSync} from 'node:fs'
import {createInterface} from 'node:readline'

const require = createRequire(import.meta.url)

// Some SDKs talk while they verify, and standard output is for answers.
console.log = console.info = console.debug = () => {}

// How a request reads in the table below: headers by lower-case name (h), the
// body as text, the secret as the SDK's user has it.
const BODY = Symbol('body')
const seconds = at => `${Math.floor(at / 1000)}`
const standard = (h, ...names) => Object.fromEntries(names.map(n => [n, h[n]]))
const form = body => Object.fromEntries(new URLSearchParams(body))
const fetched = q => new Request(q.url, {method: q.method, headers: q.headers, body: q.body})

const standardwebhooks = async (secret, options) => new (await import('standardwebhooks')).Webhook(secret, options)
const discord = async ({h, body, secret}) => {
  const {verifyKey} = await import('discord-interactions')
  return verifyKey(body, h['x-signature-ed25519'], h['x-signature-timestamp'], secret)
}
const slack = async ({h, body, secret}) => {
  const {verifySlackRequest} = await import('@slack/bolt')
  const headers = standard(h, 'x-slack-signature', 'x-slack-request-timestamp')
  verifySlackRequest({signingSecret: secret, body, headers})
}

// Each SDK: the receivers that it is for, what verifies (returns false, or throws,
// for what is not genuine) and, where there is one, what signs.
const sdks = {
  '@adyen/api-library': {
    for: ['adyen', 'adyen-platform'],
    async verify({h, receiver, body, secret}) {
      const hmac = new (require('@adyen/api-library').hmacValidator)()
      if (receiver === 'adyen-platform') return hmac.validateHMACSignature(secret, h.hmacsignature, body)
      return JSON.parse(body).notificationItems.every(item => hmac.validateHMAC(item.NotificationRequestItem, secret))
    },
    async sign({receiver, body, secret}) {
      const hmac = new (require('@adyen/api-library').hmacValidator)()
      if (receiver === 'adyen-platform') return {hmacsignature: hmac.calculateHmac(body, secret)}
      const signed = JSON.parse(body)
      for (const {NotificationRequestItem: item} of signed.notificationItems) {
        item.additionalData = {hmacSignature: hmac.calculateHmac(item, secret)}
      }
      return {[BODY]: JSON.stringify(signed)}
    },
  },
  '@anthropic-ai/sdk': {
    for: ['anthropic'],
    async verify({h, body, secret}) {
      const {Anthropic} = await import('@anthropic-ai/sdk')
      new Anthropic({apiKey: 'none'}).beta.webhooks.unwrap(body, {headers: h, key: secret})
    },
  },
  '@clerk/backend': {
    for: ['clerk'],
    async verify({q, secret}) { await (await import('@clerk/backend/webhooks')).verifyWebhook(fetched(q), {signingSecret: secret}) },
  },
  '@dropbox/sign': {
    for: ['dropbox-sign'],
    async verify({body, secret}) {
      const {EventCallbackHelper, EventCallbackRequest} = require('@dropbox/sign')
      return EventCallbackHelper.isValid(secret, EventCallbackRequest.init(JSON.parse(body)))
    },
  },
  '@hubspot/api-client': {
    for: ['hubspot'],
    async verify({q, h, body, secret}) {
      const timestamp = Number(h['x-hubspot-request-timestamp'])
      return require('@hubspot/api-client').Signature.isValid({
        signatureVersion: 'v3', clientSecret: secret, method: q.method, url: q.url, requestBody: body, timestamp,
        signature: h['x-hubspot-signature-v3'],
      })
    },
    async sign({q, body, secret}) {
      const timestamp = Date.now()
      return {
        'x-hubspot-request-timestamp': `${timestamp}`,
        'x-hubspot-signature-v3': require('@hubspot/api-client').Signature.getSignature(q.method, 'v3', {clientSecret: secret, url: q.url, requestBody: body, timestamp}),
      }
    },
  },
  '@line/bot-sdk': {
    for: ['line'],
    async verify({h, body, secret}) { return (await import('@line/bot-sdk')).validateSignature(body, secret, h['x-line-signature']) },
  },
  '@linear/sdk': {
    for: ['linear'],
    async verify({q, secret}) {
      const {LinearWebhookClient} = await import('@linear/sdk/webhooks')
      return (await new LinearWebhookClient(secret).createHandler()(fetched(q))).status === 200
    },
  },
  '@mux/mux-node': {
    for: ['mux'],
    async verify({h, body, secret}) {
      const {Mux} = await import('@mux/mux-node')
      await new Mux({tokenId: 'none', tokenSecret: 'none'}).webhooks.unwrap(body, h, secret)
    },
  },
  '@notionhq/client': {
    for: ['notion'],
    async verify({h, body, secret}) {
      return require('@notionhq/client').verifyWebhookSignature({body, signature: h['x-notion-signature'], verificationToken: secret})
    },
    async sign({body, secret}) {
      return {'x-notion-signature': await require('@notionhq/client').signWebhookPayload({body, verificationToken: secret})}
    },
  },
  '@octokit/webhooks': {
    for: ['github'],
    async verify({h, body, secret}) {
      const {Webhooks} = await import('@octokit/webhooks')
      await new Webhooks({secret}).verifyAndReceive({id: h['x-github-delivery'], name: h['x-github-event'], payload: body, signature: h['x-hub-signature-256']})
    },
    async sign({body, secret}) {
      const {Webhooks} = await import('@octokit/webhooks')
      return {'x-hub-signature-256': await new Webhooks({secret}).sign(body)}
    },
  },
  '@octokit/webhooks-methods': {
    for: ['github'],
    async verify({h, body, secret}) { return (await import('@octokit/webhooks-methods')).verify(secret, body, h['x-hub-signature-256']) },
    async sign({body, secret}) { return {'x-hub-signature-256': await (await import('@octokit/webhooks-methods')).sign(secret, body)} },
  },
  '@onfido/api': {
    for: ['onfido'],
    async verify({h, body, secret}) { new (require('@onfido/api').WebhookEventVerifier)(secret).readPayload(body, h['x-sha2-signature']) },
  },
  '@paddle/paddle-node-sdk': {
    for: ['paddle'],
    async verify({h, body, secret}) {
      const {Paddle} = await import('@paddle/paddle-node-sdk')
      await new Paddle('none').webhooks.unmarshal(body, secret, h['paddle-signature'])
    },
  },
  '@sanity/webhook': {
    for: ['sanity'],
    async verify({h, body, secret}) { return (await import('@sanity/webhook')).isValidSignature(body, h['sanity-webhook-signature'], secret) },
    async sign({body, secret}) {
      return {'sanity-webhook-signature': await (await import('@sanity/webhook')).encodeSignatureHeader(body, Date.now(), secret)}
    },
  },
  '@sendgrid/eventwebhook': {
    for: ['sendgrid'],
    async verify({h, body, secret}) {
      const hook = new (require('@sendgrid/eventwebhook').EventWebhook)()
      return hook.verifySignature(hook.convertPublicKeyToECDSA(secret), body,
        h['x-twilio-email-event-webhook-signature'], h['x-twilio-email-event-webhook-timestamp'])
    },
  },
  '@shopify/shopify-api': {
    for: ['shopify'],
    async verify({q, secret}) {
      await import('@shopify/shopify-api/adapters/web-api')
      const {shopifyApi, ApiVersion, LogSeverity} = await import('@shopify/shopify-api')
      const api = shopifyApi({
        apiKey: 'none', apiSecretKey: secret, scopes: [], hostName: 'localhost', isEmbeddedApp: true,
        apiVersion: Object.values(ApiVersion).at(-1), logger: {level: LogSeverity.Error},
      })
      return (await api.webhooks.validate({rawBody: q.body.toString(), rawRequest: fetched(q)})).valid
    },
  },
  '@slack/bolt': {for: ['slack', 'slack-interactive'], verify: slack},
  '@workos-inc/node': {
    for: ['workos'],
    async verify({h, body, secret}) {
      const {WorkOS} = await import('@workos-inc/node')
      await new WorkOS('none').webhooks.constructEvent({payload: JSON.parse(body), sigHeader: h['workos-signature'], secret})
    },
    async sign({body, secret}) {
      const {WorkOS} = await import('@workos-inc/node')
      const t = Date.now()
      return {'workos-signature': `t=${t}, v1=${await new WorkOS('none').webhooks.computeSignature(t, JSON.parse(body), secret)}`}
    },
  },
  '@zoom/rivet': {
    for: ['zoom'],
    async verify({h, body, secret}) {
      const {AwsLambdaReceiver} = await import('@zoom/rivet/meetings')
      const receiver = new AwsLambdaReceiver({webhooksSecretToken: secret})
      return (await receiver.start()({body, headers: h, isBase64Encoded: false}, {})).statusCode === 200
    },
  },
  'box-node-sdk': {
    for: ['box'],
    async verify({h, body, secret}) { return require('box-node-sdk/lib/managers/webhooks').WebhooksManager.validateMessage(body, h, secret) },
  },
  'chargebee': {
    for: ['chargebee'],
    async verify({h, secret}) {
      const {basicAuthValidator} = await import('chargebee')
      const [user, password] = secret.split(':')
      await basicAuthValidator((u, p) => u === user && p === password)(h)
    },
  },
  'coinbase-commerce-node': {
    for: ['coinbase-commerce'],
    async verify({h, body, secret}) { require('coinbase-commerce-node').Webhook.verifyEventBody(body, h['x-cc-webhook-signature'], secret) },
    async sign({body, secret}) { return {'x-cc-webhook-signature': require('coinbase-commerce-node').Webhook.computeSignature(body, secret)} },
  },
  'discord-interactions': {for: ['discord-interactions', 'discord-events'], verify: discord},
  'gocardless-nodejs': {
    for: ['gocardless'],
    async verify({h, body, secret}) { require('gocardless-nodejs/webhooks').parse(body, secret, h['webhook-signature']) },
  },
  'openai': {
    for: ['openai'],
    async verify({h, body, secret}) {
      const {OpenAI} = await import('openai')
      await new OpenAI({apiKey: 'none'}).webhooks.unwrap(body, h, secret)
    },
  },
  'pusher': {
    for: ['pusher'],
    async verify({h, body, secret}) {
      const Pusher = require('pusher')
      return new Pusher({appId: '1', key: h['x-pusher-key'], secret, cluster: 'eu'}).webhook({headers: h, rawBody: body}).isValid()
    },
  },
  'razorpay': {
    for: ['razorpay'],
    async verify({h, body, secret}) { return require('razorpay').validateWebhookSignature(body, h['x-razorpay-signature'], secret) },
  },
  'replicate': {
    for: ['replicate'],
    async verify({q, secret}) { return (await import('replicate')).validateWebhook(fetched(q), secret) },
  },
  'resend': {
    for: ['resend'],
    async verify({h, body, secret}) {
      const {Resend} = await import('resend')
      new Resend('none').webhooks.verify({
        payload: body, webhookSecret: secret,
        headers: {id: h['svix-id'], timestamp: h['svix-timestamp'], signature: h['svix-signature']},
      })
    },
  },
  'square': {
    for: ['square'],
    async verify({q, h, body, secret}) {
      return require('square').WebhooksHelper.verifySignature({
        requestBody: body, signatureHeader: h['x-square-hmacsha256-signature'], signatureKey: secret, notificationUrl: q.url,
      })
    },
  },
  'standardwebhooks': {
    for: ['standard-webhooks', 'anthropic', 'bigcommerce', 'gitlab-signing', 'openai', 'render', 'replicate', 'supabase-auth'],
    async verify(r) {
      const raw = r.receiver === 'bigcommerce' ? {format: 'raw'} : {}
      const hook = await standardwebhooks(r.secret, raw)
      hook.verify(r.body, r.h)
    },
    async sign(r) {
      const raw = r.receiver === 'bigcommerce' ? {format: 'raw'} : {}
      const hook = await standardwebhooks(r.secret, raw)
      const at = new Date()
      return {'webhook-timestamp': seconds(at), 'webhook-signature': hook.sign(r.h['webhook-id'], at, r.body)}
    },
  },
  'stripe': {
    for: ['stripe'],
    async verify({h, body, secret}) {
      const {default: Stripe} = await import('stripe')
      new Stripe('sk_test_none').webhooks.constructEvent(body, h['stripe-signature'], secret)
    },
    async sign({body, secret}) {
      const {default: Stripe} = await import('stripe')
      return {'stripe-signature': new Stripe('sk_test_none').webhooks.generateTestHeaderString({payload: body, secret})}
    },
  },
  'svix': {
    for: ['svix', 'clerk', 'resend', 'standard-webhooks'],
    async verify({h, body, secret}) { new (require('svix').Webhook)(secret).verify(body, h) },
    async sign({h, receiver, body, secret}) {
      const prefix = receiver === 'standard-webhooks' ? 'webhook' : 'svix'
      const at = new Date()
      const signature = new (require('svix').Webhook)(secret).sign(h[`${prefix}-id`], at, body)
      return {[`${prefix}-timestamp`]: seconds(at), [`${prefix}-signature`]: signature}
    },
  },
  'twilio': {
    for: ['twilio'],
    async verify({q, h, body, secret}) { return require('twilio').validateRequest(secret, h['x-twilio-signature'], q.url, form(body)) },
    async sign({q, body, secret}) {
      const {getExpectedTwilioSignature} = require('twilio/lib/webhooks/webhooks')
      return {'x-twilio-signature': getExpectedTwilioSignature(secret, q.url, form(body))}
    },
  },
  'webflow-api': {
    for: ['webflow'],
    async verify({h, body, secret}) {
      const {WebflowClient} = require('webflow-api')
      return new WebflowClient({accessToken: 'none'}).webhooks.verifySignature({headers: h, body, secret})
    },
  },
}

const version = name => JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version
const say = answer => process.stdout.write(JSON.stringify(answer) + '\n')

say(Object.entries(sdks).map(([name, sdk]) => ({name, version: version(name), receivers: sdk.for, signs: !!sdk.sign})))

for await (const line of createInterface({input: process.stdin})) {
  const q = JSON.parse(line)
  q.body = Buffer.from(q.body ?? '', 'base64')
  const r = {q, h: q.headers, body: q.body.toString(), secret: q.secret, receiver: q.receiver}
  try {
    const result = await sdks[q.sdk][q.do](r)
    say(q.do === 'sign' ? {ok: true, headers: result, body: Buffer.from(result[BODY] ?? '').toString('base64')} : {ok: result !== false, why: result === false ? 'it said no' : ''})
  } catch (error) {
    say({ok: false, why: String(error?.message ?? error)})
  }
}
