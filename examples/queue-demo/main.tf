# The two queues of the practical, made on Runnel. Resources and outputs are the
# sheet's. The provider has no credentials file, but the address of the server
# and what keeps it from asking services of Amazon that are not there.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 3.0" # the sheet's ~> 3.0, and all since
    }
  }
}

variable "endpoint" {
  description = "Address of the server; runnel dev listens on the default."
  type        = string
  default     = "http://127.0.0.1:7070"
}

provider "aws" {
  region = "us-east-1"

  # runnel dev takes any key. For runnel serve remove these two lines, and set
  # AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key of its.
  access_key = "any"
  secret_key = "any"

  endpoints {
    sqs = var.endpoint
  }
  skip_credentials_validation = true # asks STS
  skip_requesting_account_id  = true # asks IAM and STS
  skip_metadata_api_check     = true # asks the machine's metadata service
  skip_region_validation      = true # Runnel takes any region

  # Version 3 asks EC2, too, when it starts, and goes on without an answer. With
  # that version add the line below; from version 5 on it is an error.
  # skip_get_ec2_platforms = true
}

resource "aws_sqs_queue" "our_first_mailbox" {
  name = "csse6400_prac"
}

resource "aws_sqs_queue" "our_first_fifo" {
  name                        = "csse6400_prac.fifo"
  fifo_queue                  = true
  content_based_deduplication = true
}

output "mailbox" {
  value = aws_sqs_queue.our_first_mailbox.arn
}

output "fifo" {
  value = aws_sqs_queue.our_first_fifo.arn
}
